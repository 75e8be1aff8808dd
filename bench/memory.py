"""Peak memory of a fit by stage, compared with the memory of dense tables.

    python bench/memory.py [--data gowalla] [--large] [--users embedding history]

Each measurement runs in a fresh process, in which compiled code is loaded beforehand. The files are
read, and the peak of resident memory of each stage is counted from the resident memory once the
interactions are loaded. ``--large`` generates 1,000,000 users x 200,000 items x 50,000,000
interactions (long-tailed, Parquet files in a temporary folder) and does one epoch on them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import common
import duckdb
from common import MB, Result

from sparserec_np import SparseRec
from sparserec_np.data import Interactions, read
from sparserec_np.data.splitting import hold_out
from sparserec_np.modelfile.writer import encode
from sparserec_np.training.budget import SizeLimit, plan_budget
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.initialization import initialize
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.state import Chosen, TrainingState
from sparserec_np.training.trainer import Trainer, train
from sparserec_np.training.validation import Validator
from sparserec_np.utils.parallel import thread_count

DIM = 256
WEIGHTS_A_ROW = 6.4
SPARSITY = 1 - WEIGHTS_A_ROW / DIM
GENERATED = {
    "large": {"n_users": 1_000_000, "n_items": 200_000, "per_user": 52},
    "small": {"n_users": 2_000, "n_items": 1_000, "per_user": 30},  # for --quick
}
TRAINING = ("NMF", "train", "encode")
# Stages of a fit that chooses its epoch.
HOLD_OUT, BESIDE = "hold out", ("NMF, parts kept", "train, parts kept")
# Most MB above the interactions in the embedding model: of training, and of a fit with its reading.
BARS = {"gowalla": (14.5, TRAINING), "large": (400.0, ("read", *TRAINING, HOLD_OUT, *BESIDE))}


def write_files(folder: Path, sizes: dict[str, int]) -> list[str]:
    """Generate interactions and write them as Parquet files, some users a file."""
    paths = []
    for users, items in common.long_tailed(**sizes):
        path = folder / f"part-{len(paths):04}.parquet"
        columns = {"user": users, "item": items}
        duckdb.execute(f"COPY (SELECT * FROM columns) TO '{path}' (FORMAT parquet)")
        del columns
        paths.append(str(path))
    return paths


def files_of(name: str, folder: Path) -> list[str]:
    """Return the files of a data set; those of a generated one are written to the folder."""
    if name in GENERATED:
        return write_files(folder, GENERATED[name])
    return [str(common.data_folder() / name / f"{part}.csv") for part in ("train", "valid")]


def bytes_of(data: Interactions) -> int:
    """Return the bytes of the arrays of interactions, without ids."""
    return data.indptr.nbytes + data.items.nbytes


def by_stage(paths: list[str], users: str, epochs: int | None) -> Result:
    """Fit stage by stage, and measure the peak of each above the loaded interactions.

    Args:
        paths: Files to read.
        users: User model.
        epochs: Epochs of the training; None: those of the defaults, and a whole fit that chooses
            its epoch is measured as well.
    """
    common.warm_up(users)
    peaks: dict[str, int] = {}
    seconds: dict[str, float] = {}
    before, began = common.settled_bytes(), time.perf_counter()
    data = read(paths)
    seconds["read"] = time.perf_counter() - began
    peaks["read"] = common.peak_bytes() - before - bytes_of(data)
    config = config_for(data, {"users": users, "dim": DIM})
    budget = plan_budget(data, config, SizeLimit(sparsity=SPARSITY))
    loaded = common.settled_bytes()

    def note(stage: str) -> None:
        nonlocal began
        seconds[stage] = time.perf_counter() - began
        peaks[stage] = common.peak_bytes() - loaded
        common.settled_bytes()
        began = time.perf_counter()

    began = time.perf_counter()
    with thread_count(None):
        parameters = initialize(data, config, budget)
        note("NMF")
        most = epochs or config.epochs
        train(Trainer(parameters, data, config), TrainingState(parameters), epochs=most)
        note("train")
    arrays = model_arrays(parameters, data, config, Chosen(most, None, 0.0), None)
    del parameters  # as a fit does
    file = encode(arrays)
    note("encode")
    size = len(file)
    del arrays, file
    common.settled_bytes()
    learned, held = hold_out(data, fraction=0.1)
    validate = Validator(learned, held, config)
    note(HOLD_OUT)
    if epochs is not None:
        with thread_count(None):
            parameters = initialize(learned, config, budget)
            note(BESIDE[0])
            train(
                Trainer(parameters, learned, config),
                TrainingState(parameters),
                epochs=epochs,
                validate=validate,
                keep_best=False,
            )
            note(BESIDE[1])
    else:
        del learned, held, validate
        common.settled_bytes()
        SparseRec(users=users, dim=DIM, sparsity=SPARSITY).fit(data)
        note("whole fit, choosing its epoch")
    rows = data.n_items + (data.n_users if users == "embedding" else 0)
    return {
        "users": data.n_users,
        "items": data.n_items,
        "interactions": data.nnz,
        "interaction_bytes": bytes_of(data),
        "weights": sum(budget),
        "file_bytes": size,
        "dense_bytes": 2 * 4 * DIM * rows,
        "peaks": peaks,
        "seconds": seconds,
    }


def report(name: str, users: str, found: Result) -> str:
    """Format one measurement."""
    dense = found["dense_bytes"]
    rows = [
        [
            stage,
            f"{found['seconds'][stage]:.1f}",
            f"{peak / MB:.1f}",
            "" if stage == "read" else f"{dense / max(peak, 1):.0f} x",
        ]
        for stage, peak in found["peaks"].items()
    ]
    rows.append(["dense tables and Adagrad, alone", "", f"{dense / MB:.0f}", ""])
    verdict = ""
    if name in BARS and users == "embedding":
        bar, stages = BARS[name]
        peak = max(found["peaks"][stage] for stage in stages) / MB
        met = common.verdict(peak <= bar)
        verdict = f" Bar for {', '.join(stages)}: {bar:g} MB; {peak:.1f} MB, {met}."
    return (
        f'**{name}**, users="{users}": {found["users"]:,} users x {found["items"]:,} items x '
        f"{found['interactions']:,} interactions ({found['interaction_bytes'] / MB:.1f} MB), "
        f"dim {DIM}, {found['weights']:,} weights, file of {found['file_bytes']:,} bytes.{verdict}"
        "\n\n"
        + common.table(
            rows, ["stage", "seconds", "peak above interactions, MB", "dense tables take"]
        )
    )


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla",))
    parser.add_argument("--users", nargs="+", default=["embedding", "history"])
    parser.add_argument("--epochs", type=int, help="default: as many as a fit does; 1 if --large")
    parser.add_argument("--large", action="store_true", help="50 million interactions instead")
    args = parser.parse_args()
    results = common.Results(args.results, "memory")
    names = ["large"] if args.large else args.data
    epochs = args.epochs or (1 if args.large or args.quick else None)
    texts = []
    for name in ["small"] if args.quick else names:
        with tempfile.TemporaryDirectory() as folder:
            paths: list[str] = []

            def measure(users: str, name: str = name, folder: str = folder) -> Result:
                nonlocal paths
                paths = paths or files_of(name, Path(folder))
                return common.fresh(by_stage, paths=paths, users=users, epochs=epochs)

            for users in args.users:
                config = Config(users=users, dim=DIM).to_dict()
                what = {"data": name, "sparsity": SPARSITY, "epochs": epochs, "config": config}
                found = results.measure(what, lambda users=users, run=measure: run(users))
                texts.append(report(name, users, found))
    block = "memory-large" if args.large else "memory"
    common.finish(block, "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
