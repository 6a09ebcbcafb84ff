"""C stubs for the CUDA functions that the native sources do not define.

In: the functions wanted and the preprocessed headers. Out: C source. Nothing of NVIDIA's headers
is copied: only which arguments are outputs is read from the prototypes. The stubs take every
argument as a machine word (float and double apart), which the x86-64 calling convention allows,
so that the source compiles without any header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADERS = (
    "cuda_runtime_api.h", "cuda.h", "cublas_v2.h", "cublasLt.h", "cudnn.h", "cusparse.h",
    "cusolverDn.h", "cusolverSp.h", "cusolverMg.h", "cufft.h", "cufftXt.h", "nvrtc.h", "nccl.h",
    "cupti.h", "cusparseLt.h",
)  # fmt: skip

_CALL = re.compile(r"\b(__cuda\w+|cu[a-zA-Z]\w+|nccl\w+|nvrtc\w+|nvtx\w+)\s*\(")
_INTEGERS = {
    "int": "int", "unsigned": "int", "unsigned int": "int", "int32_t": "int", "uint32_t": "int",
    "size_t": "long", "int64_t": "long", "uint64_t": "long", "long": "long", "long long": "long",
    "unsigned long": "long", "unsigned long long": "long",
}  # fmt: skip
_STRUCTS_BY_VALUE = re.compile(r"\b(cu\w*[cC]omplex|dim3|cudaPos|cudaExtent|cudaPitchedPtr)\b")
# Workspace sizes that NVIDIA's libraries would answer and that are not modelled: a small number
# that PyTorch can allocate. The note makes the planner say so.
_UNKNOWN_SIZE_BYTES = 256
_CUPTI_NOT_SUPPORTED = 15  # kineto then knows that there is no profiler to subscribe to


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """C source and how many functions it answers: from a prototype, or blindly with 0."""

    source: str
    with_prototype: int
    without_prototype: int


def make_stubs(functions: set[str], headers: str) -> Stubs:
    """Stubs for `functions`; `headers` is the preprocessed text of HEADERS."""
    prototypes = find_prototypes(functions, headers)
    lines = [
        "void *calloc(unsigned long, unsigned long);",
        "void planner_device_note(const char *);",
        '#define EXPORT __attribute__((visibility("default")))',
    ]
    for name in sorted(functions):
        if name in prototypes:
            lines.append(_stub(name, *prototypes[name]))
        else:
            lines.append(f"EXPORT long {name}(void) {{ return 0; }}")
    return Stubs(
        source="\n".join(lines) + "\n",
        with_prototype=len(prototypes),
        without_prototype=len(functions) - len(prototypes),
    )


def find_prototypes(functions: set[str], headers: str) -> dict[str, tuple[str, list[str]]]:
    """Return type and parameters of each function that `headers` declares."""
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", " ", headers)
    found: dict[str, tuple[str, list[str]]] = {}
    for match in _CALL.finditer(text):
        name = match.group(1)
        if name not in functions or name in found:
            continue
        end = _closing_parenthesis(text, match.end())
        if not re.match(r"\s*(?:noexcept)?\s*;", text[end : end + 40]):
            continue
        start = max(text.rfind(mark, 0, match.start()) for mark in ";{}") + 1
        before = text[start : match.start()].strip()
        if not before or "=" in before or before.split()[0] == "return":
            continue  # a call in an inline function
        found[name] = (before, _parameters(text[match.end() : end - 1]))
    return found


def _closing_parenthesis(text: str, position: int) -> int:
    depth = 1
    while depth and position < len(text):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
    return position


def _parameters(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in text:
        depth += {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    cleaned = (" ".join(part.partition("=")[0].split()) for part in [*parts, current])
    return [part for part in cleaned if part and part != "void"]


def _stub(name: str, return_type: str, parameters: list[str]) -> str:
    if any(_STRUCTS_BY_VALUE.search(p) and "*" not in p for p in parameters):
        return f"EXPORT long {name}(void) {{ return 0; }}"
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
    statements = " ".join([*body, f"return {result};"])
    return f"EXPORT long {name}({', '.join(arguments) or 'void'}) {{ {statements} }}"


def _output(function: str, parameter: str, index: int) -> str | None:
    """What the stub writes through an output pointer; None where it writes nothing."""
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
    """(type without its stars, number of stars, name) of `unsigned int * count`."""
    stars = parameter.count("*") + parameter.count("[")
    before, _, after = parameter.replace("[", "*").partition("*")
    words = [word for word in before.split() if word not in ("struct", "enum")]
    name = re.sub(r"\W", "", after)
    if "*" not in parameter and len(words) > 1:  # `int sizes[8]`: the name stands before
        name = words.pop()
    return " ".join(words), stars, name
