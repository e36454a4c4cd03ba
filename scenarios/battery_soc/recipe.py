"""How the networks of the scenario are trained."""

import torch

from simdl import Input, ModelCard, Network, Output, Recurrent
from simdl.learn import QuarticLoss, fit
from simdl.networks import Window, load, save
from simdl.scenarios.battery_soc import network
from simdl.scenarios.battery_soc.network import INPUTS, LENGTH, UNITS, RecurrentSensor, WindowSensor

PIECE = 60  # rows of backpropagation: ten minutes
LOSS = QuarticLoss(300.0)  # of errors as fractions: from 6 % on the fourth power dominates


def train(parts, stop, folder, training):
    """The recurrent sensor: features once, then truncated backpropagation through the corrector. Returns its folder."""
    torch.manual_seed(training.seed)
    module = load(training.start)[0] if training.start is not None else RecurrentSensor()
    assert isinstance(module, RecurrentSensor)
    sensor, corrector = module, module.corrector
    learn = [_features(sensor, shards) for shards in parts]
    x, y = (torch.cat(columns) for columns in zip(*learn, strict=True))
    if training.start is None:
        corrector.normalise(x)
    history = fit(
        corrector,
        (x, y),
        _features(sensor, stop),
        loss=LOSS,
        seconds=training.seconds,
        epochs=training.epochs,
        batch=min(250, len(x)),
        rate=4e-3 if training.start is None else 1e-3,
        clip=0.5,
        truncation=PIECE,
        warmup=6,
        checkpoint=folder,
        seed=training.seed,
        progress=training.progress,
    )
    block = Recurrent(sensor, inputs=ports(), outputs={"soc": Output()}, period="10 s", warmup="300 s")
    return _save(folder, sensor, block, "battery_soc.recurrent", {}, parts, history.best.validate)


def train_window(parts, stop, folder, training, hidden=64):
    """The feed-forward sensor on windows of five minutes."""
    torch.manual_seed(training.seed)
    module = WindowSensor(hidden)
    x, y = (torch.cat(columns) for columns in zip(*(_windows(shards) for shards in parts), strict=True))
    module.normalise(x[:, -1])
    history = fit(
        module,
        (x, y),
        _windows(stop),
        loss=LOSS,
        seconds=training.seconds,
        epochs=training.epochs,
        batch=1024,
        rate=2e-3,
        clip=0.5,
        checkpoint=folder,
        seed=training.seed,
        progress=training.progress,
    )
    return _save_window(folder, module, {"hidden": hidden}, parts, history.best.validate)


def train_ridge(parts, stop, folder, training, penalty=1e-3):
    """The same windows, but linear: ridge regression in closed form."""
    module = WindowSensor(0)
    x, y = (torch.cat(columns) for columns in zip(*(_windows(shards) for shards in parts), strict=True))
    module.normalise(x[:, -1])
    z = ((network.squash(x) - module.mean) / module.deviation).clamp(-6, 6).flatten(1).double()
    z = torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], 1)
    wanted = (y.double() - 0.5) / 0.25
    identity = torch.eye(z.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(z.T @ z / len(z) + penalty * identity, z.T @ wanted / len(z))
    module.net.weight.data, module.net.bias.data = weights[:-1].T.float(), weights[-1].float()
    xs, ys = _windows(stop)
    with torch.no_grad():
        return _save_window(folder, module, {"hidden": 0}, parts, float((module(xs) - ys).square().mean()))


def ports():
    """The rows of the slot as inputs with units."""
    return {name: Input(unit=unit) for name, unit in zip(INPUTS, UNITS, strict=True)}


def _rows(shards):
    """Rows (lanes, time, 6) and charge (lanes, time, 1) of the lanes without a sensor fault."""
    sound = shards.param("faulty") < 0.5
    x = torch.stack([shards.signal(name) for name in INPUTS], -1)[sound]
    return x, shards.signal("soc")[sound].unsqueeze(-1)


def _features(sensor, shards):
    x, y = _rows(shards)
    with torch.no_grad():
        return sensor.features(x)[0], y


def _windows(shards, hop=6):
    x, y = _rows(shards)
    windows = x.unfold(1, LENGTH, hop).movedim(-1, 2)  # (lanes, windows, LENGTH, 6)
    return windows.flatten(0, 1).contiguous(), y[:, LENGTH - 1 :: hop].flatten(0, 1)


def _save_window(folder, module, kwargs, parts, loss):
    block = Network(
        module, inputs=ports(), outputs={"soc": Output()}, period="10 s", window=Window(LENGTH, fill="hold")
    )
    return _save(folder, module, block, "battery_soc.window", kwargs, parts, loss)


def _save(folder, module, block, factory, kwargs, parts, loss):
    module.eval()
    rows = torch.cat([_rows(shards)[0].flatten(0, 1) for shards in parts])
    boxes = {name: (float(rows[:, i].min()), float(rows[:, i].max())) for i, name in enumerate(INPUTS)}
    card = ModelCard.of(
        block,
        factory,
        kwargs,
        boxes=boxes,
        name="battery_soc " + factory.rpartition(".")[2],
        data_hash=" ".join(shards.content_hash()[:16] for shards in parts),
        metrics={"validation loss": float(loss)},
    )
    save(folder, module, card)
    return folder
