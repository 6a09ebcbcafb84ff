"""Prototypes as headers write them, and the C that answers them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from planner.emulator.stubs import find_prototypes, make_stubs
from planner.emulator.unemulated import starts_work

VOID = "EXPORT long {}(void) {{ return 0; }}"


@pytest.mark.parametrize(
    ("header", "stub"),
    [
        ("cudaError_t cudaNothing(void);", "long cudaNothing(void) { return 0; }"),
        (
            "cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);",
            "long cusolverDnCreate(void *p0) { if (p0) *(void **)p0 = calloc(1, 4096); return 0; }",
        ),
        (
            "cublasStatus_t cublasSscal(cublasHandle_t h, int n, const float* alpha, float *x);",
            "long cublasSscal(long p0, long p1, void *p2, void *p3) { planner_device_launched(); "
            "return 0; }",
        ),
        (
            "cublasStatus_t cublasAxpyOne(float a, double b, long long c);",
            "long cublasAxpyOne(float p0, double p1, long p2) { planner_device_launched(); "
            "return 0; }",
        ),
        (
            "cusolverStatus_t cusolverDnX_bufferSize(cusolverDnHandle_t h, int m, int *lwork);",
            "long cusolverDnX_bufferSize(long p0, long p1, void *p2) { if (p2) { *(int *)p2 = 256; "
            'planner_device_note("size-unknown-cusolver"); } return 0; }',
        ),
        (
            "cufftResult cufftMakePlan1d(cufftHandle plan, int nx, size_t *workSize);",
            "long cufftMakePlan1d(long p0, long p1, void *p2) { if (p2) { *(long *)p2 = 0; "
            'planner_device_note("size-unknown-cufft"); } return 0; }',
        ),
        (
            "cufftResult cufftCreate(int * handle);",
            "long cufftCreate(void *p0) { if (p0) *(int *)p0 = 1; return 0; }",
        ),
        (
            "const char* cusparseGetErrorString(cusparseStatus_t status);",
            'const char *cusparseGetErrorString(long p0) { return "emulated"; }',
        ),
        (
            "CUptiResult cuptiSubscribe(CUpti_SubscriberHandle *s, CUpti_CallbackFunc f, void *d);",
            "long cuptiSubscribe(void *p0, long p1, void *p2) {  return 15; }",
        ),
        (
            "cublasStatus_t cublasByValue(cuComplex value, int n);",
            "long cublasByValue(void) { planner_device_launched(); return 0; }",
        ),
        (
            "ncclResult_t ncclMany(const int sizes[8], int counts[], ncclComm_t* comms);",
            "long ncclMany(void *p0, void *p1, void *p2) { planner_device_launched(); return 0; }",
        ),
        (
            'extern __attribute__((visibility("default"))) cudaError_t\n  cudaSpread(int a,\n'
            "   int b = 3) noexcept;",
            "long cudaSpread(long p0, long p1) {  return 0; }",
        ),
    ],
    ids=lambda text: text.split("(")[0].split()[-1],
)
def test_stub_of_a_prototype(header: str, stub: str) -> None:
    name = stub.partition("(")[0].split()[-1].lstrip("*")
    made = make_stubs({name}, header)
    line = next(line for line in made.source.splitlines() if f"{name}(" in line)
    assert " ".join(line.split()) == " ".join(f"EXPORT {stub}".split())
    assert (made.with_prototype, made.without_prototype) == (1, 0)


def test_a_call_in_an_inline_function_is_no_prototype() -> None:
    text = (
        "inline int f() { cudaThing(0); int x = cudaThing(2); return cudaThing(1); }\n"
        "int cudaThing(int a) { return a; }\n"
    )
    assert find_prototypes(text) == {}


def test_a_type_is_no_prototype() -> None:
    assert find_prototypes("typedef int cudaThing_t(int a); typedef int (*cudaCall)(int);") == {}


def test_the_first_declaration_counts_and_others_are_left_out() -> None:
    text = "int cudaThing(int a); int cudaThing(int a, int b); int cudaOther(void);"
    assert find_prototypes(text) == {
        "cudaThing": ("int", ["int a"]),
        "cudaOther": ("int", []),
    }


def test_what_no_header_declares_answers_0() -> None:
    made = make_stubs({"cudaUnheard"}, "")
    assert VOID.format("cudaUnheard") in made.source
    assert (made.with_prototype, made.without_prototype) == (0, 1)


BESIDE_TORCH = """
enum cudaError { cudaSuccess = 0, cudaErrorNotSupported = 801 };
enum { CUBLAS_STATUS_NOT_SUPPORTED = 15, CURAND_STATUS_INTERNAL_ERROR = 0x3e7 };
"""
REFUSED = 'return planner_device_refuse("{}", {}, __builtin_return_address(0));'
DONE = '__attribute__((alias("done")));'
QUEUED = '__attribute__((alias("queued")));'


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        # advice and what lets go: nothing comes back
        ("cudaError_t cudaMemAdvise(const void *p, size_t n, int a, int d);", DONE),
        ("cudaError_t cudaDeviceSetLimit(int limit, size_t value);", DONE),
        ("CUresult cuArrayDestroy(CUarray a);", DONE),
        # a result, and no way to know it
        ("cudaError_t cudaDeviceGetLimit(size_t *v, int l);",
         REFUSED.format("cudaDeviceGetLimit", 801)),
        ("cudaError_t cudaMallocArray(cudaArray_t *a, int n);",
         REFUSED.format("cudaMallocArray", 801)),
        # no result, but memory of the host may be behind it
        ("cudaError_t cudaMemcpy3D(const struct P *p);", REFUSED.format("cudaMemcpy3D", 801)),
        ("cudaError_t cudaSetHostCallback(void *p);", REFUSED.format("cudaSetHostCallback", 801)),
        # a driver that the headers give no number for
        ("CUresult cuMulticastCreate(long *h);", REFUSED.format("cuMulticastCreate", 1)),
        # computes on the card, as a kernel
        ("cublasStatus_t cublasSgemm(cublasHandle_t h, const float *a, float *c);", QUEUED),
        ("cublasStatus_t cublasGetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t *mode);",
         REFUSED.format("cublasGetAtomicsMode", 15)),
        ("curandStatus_t curandGetOffset(long *n);", REFUSED.format("curandGetOffset", 999)),
        ("curandStatus_t curandCreateGenerator(curandGenerator_t *g, int kind);",
         "(void *p0, long p1) { if (p0) *(void **)p0 = calloc(1, 4096); return 0; }"),
        ("size_t cublasLtGetThing(void);", DONE),
        ("const char *cublasGetWord(int s);", '(long p0) { return "emulated"; }'),
    ],
    ids=lambda text: text.partition("(")[0].rpartition(" ")[2] or "answer",
)  # fmt: skip
def test_what_torch_does_not_want(header: str, answer: str) -> None:
    made = make_stubs({"cudaMalloc"}, BESIDE_TORCH + header, {"cudaDefined"})
    name = header.partition("(")[0].split()[-1].lstrip("*")
    (line,) = [line for line in made.source.splitlines() if f"{name}(" in line]
    assert answer in line
    assert (made.beside_torch, made.refused) == (1, int("refuse" in line))


def test_what_is_defined_natively_gets_no_stub() -> None:
    header = "cudaError_t cudaFree(void *p); cudaError_t cudaMemAdvise(const void *p);"
    made = make_stubs({"cudaFree"}, header, {"cudaMemAdvise"})
    assert made.beside_torch == 0
    assert "cudaMemAdvise" not in made.source


def test_the_source_compiles_without_any_header(tmp_path: Path) -> None:
    header = (
        "float cublasF(float a, double *b); int cudaG(void (*callback)(int, int), int n);"
        "cudaError_t cudaBesideGet(int *n); cudaError_t cudaBesideSet(int n);"
        "cublasStatus_t cublasBeside(int n);"
    )
    source = tmp_path / "stubs.c"
    source.write_text(make_stubs({"cublasF", "cudaG", "cudaNone"}, header).source)
    command = ["cc", "-Wall", "-Werror", "-fno-builtin", "-c", source, "-o", tmp_path / "stubs.o"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = subprocess.run(
        ["nm", "--defined-only", "-g", tmp_path / "stubs.o"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.split()[-1] for line in names.stdout.splitlines()} == {
        "cublasF",
        "cudaG",
        "cudaNone",
        "cudaBesideGet",
        "cudaBesideSet",
        "cublasBeside",
    }


@pytest.mark.parametrize(
    "name",
    [
        "cublasSgemm_v2", "cublasGemmEx", "cublasLtMatmul", "cublasDgetrsBatched",
        "cudnnConvolutionForward", "cudnnBatchNormalizationBackwardEx", "cudnnRNNForward",
        "cusparseSpMM", "cusolverDnSgesvd", "cufftXtExec", "curandGenerateUniform", "ncclAllGather",
        "cublasSetVector", "cudnnSetTensor", "cudaMemcpy3DAsync", "cuMemsetD8Async",
    ],
)  # fmt: skip
def test_what_puts_work_on_the_card(name: str) -> None:
    assert starts_work(name)


@pytest.mark.parametrize(
    "name",
    [
        "cublasCreate_v2", "cublasSetStream_v2", "cublasLtMatmulAlgoGetHeuristic",
        "cublasLtMatmulAlgoCheck", "cublasLtMatmulAlgoInit", "cudnnGetRNNTempSpaceSizes",
        "cudnnDestroyTensorDescriptor", "cusparseSpMM_bufferSize", "cufftXtMakePlanMany",
        "ncclCommInitRank", "ncclGroupEnd", "ncclRedOpDestroy", "cudaLaunchKernel", "cuMemFree",
    ],
)  # fmt: skip
def test_what_only_prepares_work(name: str) -> None:
    assert not starts_work(name)
