"""Campaigns: thousands of lanes of one model, with their margins, worst cases and data sets."""

from simdl.campaign.campaign import Campaign as Campaign
from simdl.campaign.monte_carlo import monte_carlo as monte_carlo
from simdl.campaign.replay import Replay as Replay
