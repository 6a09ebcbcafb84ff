"""Makes C stubs for the CUDA functions that the native sources do not define.

In: the functions that torch imports and the preprocessed headers. Out: C source, also for every
other function of the headers. Nothing of NVIDIA's headers is copied: the prototypes only show which
arguments are outputs. The stubs take every argument as a machine word (except float and double).
The x86-64 calling convention allows this, so the source compiles without any header.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from planner.emulator.unemulated import (
    Refusals,
    computes,
    is_refused,
    read_refusals,
    refusing,
    starts_work,
)

HEADERS = (
    "cuda_runtime_api.h", "cuda.h", "cublas_v2.h", "cublasLt.h", "cudnn.h", "cusparse.h",
    "cusolverDn.h", "cusolverSp.h", "cusolverMg.h", "cufft.h", "cufftXt.h", "nvrtc.h", "nccl.h",
    "cupti.h", "cusparseLt.h", "curand.h", "nvJitLink.h", "cublasXt.h", "cusolverRf.h",
    "cuda_profiler_api.h",
)  # fmt: skip

_CALL = re.compile(
    r"\b(__cuda\w+|cu[a-zA-Z]\w+|nccl\w+|nvrtc\w+|nvtx\w+|__nvJitLink\w+|nvJitLink\w+)\s*\("
)
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_INTEGERS = {
    "int": "int", "unsigned": "int", "unsigned int": "int", "int32_t": "int", "uint32_t": "int",
    "size_t": "long", "int64_t": "long", "uint64_t": "long", "long": "long", "long long": "long",
    "unsigned long": "long", "unsigned long long": "long",
}  # fmt: skip
_STRUCTS_BY_VALUE = re.compile(r"\b(cu\w*[cC]omplex|dim3|cudaPos|cudaExtent|cudaPitchedPtr)\b")
# The answer for workspace sizes of NVIDIA's libraries that are not modelled: a small number that
# PyTorch can allocate. A note makes the planner report it.
_UNKNOWN_SIZE_BYTES = 256
_CUPTI_NOT_SUPPORTED = 15  # says to kineto that there is no profiler to subscribe to


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """C source and the number of its functions.

    Functions that torch imports: with a prototype, or without one (the stub returns 0). Functions
    that only other libraries call: all of them, and those that answer "not supported".
    """

    source: str
    with_prototype: int
    without_prototype: int
    beside_torch: int = 0
    refused: int = 0


def make_stubs(wanted: Collection[str], headers: str, defined: Collection[str] = ()) -> Stubs:
    """Makes stubs for the functions in `wanted` and for all others that `headers` declare.

    Functions in `defined` get no stub of the second kind. `headers` is the preprocessed HEADERS.
    """
    declared = find_prototypes(headers)
    lines = [
        "void *calloc(unsigned long, unsigned long);",
        "void planner_device_note(const char *);",
        "void planner_device_launched(void);",
        "long planner_device_refuse(const char *, long, const void *);",
        '#define EXPORT __attribute__((visibility("default")))',
        "static long done(void) { return 0; }",
        "static long queued(void) { planner_device_launched(); return 0; }",
    ]
    for name in sorted(wanted):
        if name in declared:
            lines.append(_stub(name, *declared[name]))
        else:
            lines.append(f"EXPORT long {name}(void) {{ return 0; }}")
    refusals = read_refusals(headers)
    others = sorted(declared.keys() - set(wanted) - set(defined))
    beside = [_stub_beside_torch(name, *declared[name], refusals) for name in others]
    prototypes = sum(name in declared for name in wanted)
    return Stubs(
        source="\n".join([*lines, *beside]) + "\n",
        with_prototype=prototypes,
        without_prototype=len(wanted) - prototypes,
        beside_torch=len(beside),
        refused=sum("planner_device_refuse(" in line for line in beside),
    )


def find_prototypes(headers: str) -> dict[str, tuple[str, list[str]]]:
    """Returns return type and parameters of each CUDA function that `headers` declare."""
    text = _ATTRIBUTE.sub(" ", headers)
    found: dict[str, tuple[str, list[str]]] = {}
    for match in _CALL.finditer(text):
        name = match.group(1)
        if name in found:
            continue
        end = _closing_parenthesis(text, match.end())
        if not re.match(r"\s*(?:noexcept)?\s*;", text[end : end + 40]):
            continue
        start = max(text.rfind(mark, 0, match.start()) for mark in ";{}") + 1
        before = text[start : match.start()].strip()
        if not before or "=" in before or before.split()[0] in ("return", "typedef", "static"):
            continue  # a call in an inline function, or a type
        found[name] = (before, _parameters(text[match.end() : end - 1]))
    return found


_PARENTHESIS = re.compile(r"[()]")


def _closing_parenthesis(text: str, position: int) -> int:
    depth = 1
    for match in _PARENTHESIS.finditer(text, position):
        depth += 1 if match.group() == "(" else -1
        if not depth:
            return match.end()
    return len(text)


_SEPARATOR = re.compile(r"[][(<>),]")


def _parameters(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for match in _SEPARATOR.finditer(text):
        character = match.group()
        if character != ",":
            depth += 1 if character in "(<[" else -1
        elif depth == 0:
            parts.append(text[begin : match.start()])
            begin = match.end()
    cleaned = (" ".join(part.partition("=")[0].split()) for part in [*parts, text[begin:]])
    return [part for part in cleaned if part and part != "void"]


def _stub_beside_torch(
    name: str, return_type: str, parameters: list[str], refusals: Refusals
) -> str:
    """Returns the stub of a function that only other libraries call."""
    number = refusals.number(return_type)
    outputs = [index for index, parameter in enumerate(parameters) if _is_output(parameter)]
    filled = [index for index in outputs if _is_filled(name, parameters[index], index)]
    if number is not None and is_refused(name, len(outputs) - len(filled)):
        return refusing(name, number)
    if not filled and "*" not in return_type:  # compiles in half the time of a body
        answer = "queued" if starts_work(name) else "done"
        return f'EXPORT long {name}(void) __attribute__((alias("{answer}")));'
    return _stub(name, return_type, parameters)


def _is_output(parameter: str) -> bool:
    """Returns whether a function could write through this parameter."""
    if "*" not in parameter and "[" not in parameter:
        return False
    if "(" in parameter:
        return False  # a function to call
    return "const" not in parameter.split("*")[0].split()


def _is_filled(function: str, parameter: str, index: int) -> bool:
    statement = _output(function, parameter, index)
    if statement is None:
        return False
    # Sizes of the runtime and the driver are memory, not workspaces: no number is invented.
    return computes(function) or "planner_device_note" not in statement


def _stub(name: str, return_type: str, parameters: list[str]) -> str:
    if any(_STRUCTS_BY_VALUE.search(p) and "*" not in p for p in parameters):
        work = "planner_device_launched(); " if starts_work(name) else ""
        return f"EXPORT long {name}(void) {{ {work}return 0; }}"
    arguments, body = [], []
    for index, parameter in enumerate(parameters):
        words = parameter.replace("*", " * ").split()
        is_pointer = "*" in words or "[" in parameter
        kind = "void *" if is_pointer else "long "
        if not is_pointer and words[0] in ("float", "double"):
            kind = words[0] + " "
        arguments.append(f"{kind}p{index}")
        if is_pointer and (statement := _output(name, parameter, index)):
            body.append(statement)
    result = "0"
    if "char" in return_type and "*" in return_type:
        taken = ", ".join(arguments) or "void"
        return f'EXPORT const char *{name}({taken}) {{ return "emulated"; }}'
    if name.startswith("cuptiSubscribe"):
        result = str(_CUPTI_NOT_SUPPORTED)
    if starts_work(name):
        body.append("planner_device_launched();")
    statements = " ".join([*body, f"return {result};"])
    return f"EXPORT long {name}({', '.join(arguments) or 'void'}) {{ {statements} }}"


def _output(function: str, parameter: str, index: int) -> str | None:
    """Returns the statement that writes through an output pointer; None if nothing is written."""
    if "const" in parameter.split("*")[0].split() or "(" in parameter:
        return None
    base, stars, last = _pointer_parts(parameter)
    new_object = f"if (p{index}) *(void **)p{index} = calloc(1, 4096);"
    if stars == 2:
        creates = re.search(r"Create|Get.*(Kernel|Handle)", function)
        return new_object if creates else None
    if base in _INTEGERS:
        if re.search(r"size|workspace", function + last, re.IGNORECASE):
            value = 0 if "fft" in function else _UNKNOWN_SIZE_BYTES
            library = re.match(r"cu[a-z]+", function)
            key = f"size-unknown-{library.group(0) if library else function}"
            note = f'planner_device_note("{key}");'
            return f"if (p{index}) {{ *({_INTEGERS[base]} *)p{index} = {value}; {note} }}"
        if re.search(r"Create|Make", function):
            return f"if (p{index}) *({_INTEGERS[base]} *)p{index} = 1;"
        return None
    if "Create" in function and base.endswith("_t"):
        return new_object
    return None


def _pointer_parts(parameter: str) -> tuple[str, int, str]:
    """Returns (type without its stars, number of stars, name) of `unsigned int * count`."""
    stars = parameter.count("*") + parameter.count("[")
    before, _, after = parameter.replace("[", "*").partition("*")
    words = [word for word in before.split() if word not in ("struct", "enum")]
    name = re.sub(r"\W", "", after)
    if "*" not in parameter and len(words) > 1:  # `int sizes[8]`: the name is before the bracket
        name = words.pop()
    return " ".join(words), stars, name
