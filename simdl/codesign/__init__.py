"""Co-design: the network and its place in the system, improved together.

simulate -> data -> train -> close the loop -> check -> worst lanes into the data -> train again -> check again
"""

from simdl.codesign.design import Design as Design, Stratum as Stratum, Training as Training
from simdl.codesign.loop import codesign as codesign, confirm as confirm
from simdl.codesign.outcome import Checked as Checked, Confirmed as Confirmed, Outcome as Outcome
