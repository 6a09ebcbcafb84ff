"""Writes the resource request of a job for a scheduler.

In: an Estimate, the scheduler. Out: text with comments, which the scheduler reads as it is;
comments alone where no card fits. Convention: the formats are small, so they are written line by
line; each text from outside is in quotes, or in a comment on one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from planner.errors import UsageError
from planner.hardware.market_names import GPUHUNT_NAMES, SKYPILOT_NAMES
from planner.render.exports.formats import RequestFormat
from planner.render.exports.needs import JobNeeds, job_needs
from planner.render.outside_text import shown
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import MIB


def resource_request(estimate: Estimate, scheduler: RequestFormat) -> str:
    """Returns the request; comments alone where the step fits on no card of the estimate.

    Raises:
        UsageError: the estimate is of a CPU, or the scheduler has no name for any card that fits.
    """
    needs = job_needs(estimate)
    comments = [*needs.comments]
    lines: list[str] = []
    if needs.cards:
        lines, more = _WRITERS[scheduler](needs)
        comments += more
    else:
        comments.append("nothing is requested: the step fits on none of these cards")
    return "".join(f"{line}\n" for line in [*(f"# {one}" for one in comments), *lines])


_Written = tuple[list[str], list[str]]  # lines, and further comments


def _sky(needs: JobNeeds) -> _Written:
    """`N+` is N or more, memory in GiB.

    https://docs.skypilot.co/en/latest/reference/yaml-spec.html; several accelerators as a mapping
    are alternatives (sky/resources.py, Resources.from_yaml_config, 0.14).
    """
    named, comments = _named(needs, SKYPILOT_NAMES, "SkyPilot's catalogue")
    names = dict.fromkeys(name for one in named for name in SKYPILOT_NAMES[one.id or ""])
    lines = ["resources:"]
    if len(names) == 1:
        lines.append(f"  accelerators: {next(iter(names))}:1")
    else:
        lines += ["  accelerators:", *(f"    {name}: 1" for name in names)]
    if needs.cpus is not None:
        lines.append(f"  cpus: {needs.cpus}+")
    if needs.ram_gib is not None:
        lines.append(f"  memory: {needs.ram_gib}+")
    return lines, [*comments, *_shm_comment(needs, "SkyPilot")]


def _dstack(needs: JobNeeds) -> _Written:
    """`N..` is N or more; GB are GiB.

    https://dstack.ai/docs/reference/dstack.yml/task, and Memory and Range in
    dstack/_internal/core/models/resources.py of dstack 0.22.
    """
    named, comments = _named(needs, GPUHUNT_NAMES, "gpuhunt, the catalogue of dstack,")
    known = [GPUHUNT_NAMES[one.id or ""] for one in named]
    names = ", ".join(dict.fromkeys(name for name, _ in known))
    lines = [
        "resources:",
        "  gpu:",
        f"    name: [{names}]",
        f"    memory: {min(size_gb for _, size_gb in known)}GB..",
        "    count: 1",
    ]
    if needs.cpus is not None:
        lines.append(f"  cpu: {needs.cpus}..")
    if needs.ram_gib is not None:
        lines.append(f"  memory: {needs.ram_gib}GB..")
    if needs.shm_mib is not None:
        lines.append(f"  shm_size: {needs.shm_mib}MB")
    return lines, comments


def _k8s(needs: JobNeeds) -> _Written:
    """The card by the labels of GPU Feature Discovery, memory at least that of the card.

    https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/
    """
    above_mib = min(one.total_memory_bytes for one in needs.cards) // MIB - 1
    labels = dict.fromkeys(node_label(one.name) for one in needs.cards)
    products = ", ".join(map(_quoted, labels))
    lines = [
        "spec:",
        "  affinity:",
        "    nodeAffinity:",
        "      requiredDuringSchedulingIgnoredDuringExecution:",
        "        nodeSelectorTerms:",
        "          - matchExpressions:",
        f"              - {{key: nvidia.com/gpu.product, operator: In, values: [{products}]}}",
        f'              - {{key: nvidia.com/gpu.memory, operator: Gt, values: ["{above_mib}"]}}',
        *_container(needs, ["nvidia.com/gpu: 1"]),
    ]
    return lines, ["a fragment of a pod: give the container the name that yours has"]


def _hami(needs: JobNeeds) -> _Written:
    """`nvidia.com/gpumem` is in MiB, the context of CUDA included; the card by its full name.

    https://github.com/Project-HAMi/HAMi/blob/master/docs/config.md and
    examples/nvidia/specify_card_type_to_use.yaml there.
    """
    types = _quoted(",".join(dict.fromkeys(one.name for one in needs.cards)))
    lines = [
        "metadata:",
        "  annotations:",
        f"    nvidia.com/use-gputype: {types}",
        "spec:",
        *_container(needs, ["nvidia.com/gpu: 1", f"nvidia.com/gpumem: {needs.device_mib}"]),
    ]
    return lines, ["a fragment of a pod: give the container the name that yours has"]


def _container(needs: JobNeeds, cards: list[str]) -> list[str]:
    """Returns the container with its limits, and /dev/shm, whose use counts as its memory.

    https://kubernetes.io/docs/concepts/storage/volumes/#emptydir
    """
    memory = [] if needs.ram_gib is None else [f"memory: {needs.ram_gib}Gi"]
    cpu = [] if needs.cpus is None else [f'cpu: "{needs.cpus}"']
    lines = ["  containers:", "    - name: train", "      resources:"]
    if cpu or memory:
        lines += ["        requests:", *(f"          {one}" for one in (*cpu, *memory))]
    lines += ["        limits:", *(f"          {one}" for one in (*cards, *memory))]
    if needs.shm_mib is not None:
        lines += [
            "      volumeMounts:",
            "        - {name: dshm, mountPath: /dev/shm}",
            "  volumes:",
            "    - name: dshm",
            f"      emptyDir: {{medium: Memory, sizeLimit: {needs.shm_mib}Mi}}",
        ]
    return lines


def _slurm(needs: JobNeeds) -> _Written:
    """`--mem` takes G for GiB, of the node; one type of card, which each site names itself.

    https://slurm.schedmd.com/sbatch.html, https://slurm.schedmd.com/gres.html
    """
    first, *others = needs.cards
    lines = [f"#SBATCH --gres=gpu:{_slurm_type(first)}:1", "#SBATCH --ntasks=1"]
    if needs.cpus is not None:
        lines.append(f"#SBATCH --cpus-per-task={needs.cpus}")
    if needs.ram_gib is not None:
        lines.append(f"#SBATCH --mem={needs.ram_gib}G")
    detected = "_".join(first.name.lower().split())
    comments = [
        "the type of a card is a word of the site: sinfo -o %G lists them; with AutoDetect=nvml it "
        f"may be gpu:{shown(detected)}:1",
        *(f"instead, it fits too: --gres=gpu:{_slurm_type(one)}:1" for one in others),
        *_shm_comment(needs, "Slurm"),
    ]
    return lines, comments


def _slurm_type(entry: DeviceEstimate) -> str:
    """Returns the usual short word: a100 for a100-sxm4-80gb, rtx4090 for rtx-4090."""
    name = entry.id or entry.name
    words = "".join(one if one.isascii() and one.isalnum() else " " for one in name.lower()).split()
    if words[0] in _SERIES:
        return "".join(one for one in words if not one.endswith("gb"))
    return words[0]


_SERIES = ("rtx", "gtx", "quadro", "titan")  # first words that do not name a card alone


def _shm_comment(needs: JobNeeds, scheduler: str) -> list[str]:
    if needs.shm_mib is None:
        return []
    return [
        f"/dev/shm: {needs.shm_mib} MiB, which {scheduler} has no request for; a container needs "
        f"--shm-size={needs.shm_mib}m"
    ]


def _named(
    needs: JobNeeds, names: Mapping[str, object], where: str
) -> tuple[list[DeviceEstimate], list[str]]:
    """Returns the cards that have a name, and a sentence on each that has none.

    Raises:
        UsageError: none has one.
    """
    known = [one for one in needs.cards if one.id in names]
    unknown = [one for one in needs.cards if one.id not in names]
    if not known:
        listed = ", ".join(shown(one.name) for one in unknown)
        raise UsageError(
            f"no name of {where} is known for {listed}, so nothing can be requested; name another "
            "card with --gpu, or write the request from --json"
        )
    return known, [f"{shown(one.name)} is not requested: {where} has it not" for one in unknown]


def node_label(name: str) -> str:
    """Returns the card's name as a label of a Kubernetes node, `nvidia.com/gpu.product`.

    GPU Feature Discovery writes NVIDIA-A100-SXM4-40GB for "NVIDIA A100-SXM4-40GB"
    (https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery).
    """
    return "-".join(name.split())


def _quoted(text: str) -> str:
    """Returns a text of YAML in quotes, with escapes for what cannot be printed."""
    return json.dumps(shown(text), ensure_ascii=False)


_WRITERS: Mapping[RequestFormat, Callable[[JobNeeds], _Written]] = {
    RequestFormat.SKY: _sky,
    RequestFormat.DSTACK: _dstack,
    RequestFormat.K8S: _k8s,
    RequestFormat.SLURM: _slurm,
    RequestFormat.HAMI: _hami,
}
