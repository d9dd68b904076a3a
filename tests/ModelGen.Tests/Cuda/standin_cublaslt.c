// A library in the place of libcublasLt.so.12: descriptions, layouts and preferences are checked as the real library's documentation has them, and products are computed, over the memory of a
// stand-in for the driver, which is the processor's. Algorithms that it recommends are for the product, the alignments and the workspace that it was asked for, and for no other.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16BF = 14, COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
enum { DESC = 0x44455343, LAYOUT = 0x4c41594f, PREFERENCE = 0x50524546, ALGORITHM = 0x414c474f, HANDLE = 0x48414e44, GONE = 0x474f4e45 };
enum { EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32 };

typedef struct { uint32_t magic; int32_t compute, scale, pointers, transposes_a, transposes_b; uint32_t epilogue; uint64_t bias; } desc;
typedef struct { uint32_t magic; int32_t type; uint64_t rows, columns; int64_t stride; } layout;
typedef struct { uint32_t magic; uint64_t workspace; uint32_t schemes, alignments[4]; } preference;
typedef struct { uint64_t magic, key, workspace; uint32_t alignments[4]; uint64_t bias_alignment, rest[2]; } algorithm;
typedef struct { algorithm algo; size_t workspace; int32_t state; float waves; int32_t reserved[4]; } recommended;
typedef struct { desc d; layout a, b, c, r; const void *alpha, *beta; float numbers[2]; uint64_t pa, pb, pc, pd; int index; } job;

_Static_assert(sizeof(algorithm) == 64 && sizeof(recommended) == 96, "as cublasLtMatmulAlgo_t and cublasLtMatmulHeuristicResult_t");

static int live, handles, calls, version = 120405, fail_call, fail_status;
static long jobs;
static char fault[256], fail_name[64];
static size_t wanted = 4096;
static double first_sum;
static int (*holds)(uint64_t, uint64_t);

API void standin_blas_version(int v) { version = v; }
API void standin_blas_wants(size_t bytes) { wanted = bytes; }
API void standin_blas_memory(int (*f)(uint64_t, uint64_t)) { holds = f; }
API void standin_blas_fail(const char *name, int call, int status) { strncpy(fail_name, name, 63); fail_call = call; fail_status = status; }
API int standin_blas_live(void) { return live; }
API int standin_blas_handles(void) { return handles; }
API int standin_blas_calls(void) { return calls; }
API int standin_blas_jobs(void) { return (int)jobs; }
API double standin_blas_first_sum(void) { return first_sum; }
API const char *standin_blas_fault(void) { return *fault ? fault : 0; }

static int wrong(const char *what) { if (!*fault) snprintf(fault, sizeof fault, "%s", what); return INVALID_VALUE; }
static int failing(const char *name) { return !strcmp(name, fail_name) && fail_call > 0 && --fail_call == 0 ? fail_status : 0; }
#define BEGIN() do { int failed = failing(__func__); if (failed) return failed; } while (0)

API size_t cublasLtGetVersion(void) { return (size_t)version; }
API const char *cublasLtGetStatusName(int s) { return s == 1 ? "CUBLAS_STATUS_NOT_INITIALIZED" : s == 3 ? "CUBLAS_STATUS_ALLOC_FAILED" : s == 7 ? "CUBLAS_STATUS_INVALID_VALUE" : s == 13 ? "CUBLAS_STATUS_EXECUTION_FAILED" : s == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_UNKNOWN"; }
API const char *cublasLtGetStatusString(int s) { return s == 13 ? "the GPU program failed to execute" : cublasLtGetStatusName(s); }

API int cublasLtCreate(uint32_t **handle) { BEGIN(); *handle = malloc(4); **handle = HANDLE; handles++; return SUCCESS; }

API int cublasLtMatmulDescCreate(desc **d, int compute, int scale)
{
    BEGIN();
    if ((compute != COMPUTE_32F && compute != COMPUTE_32F_FAST_TF32) || scale != R_32F) return wrong("a compute type or scale type that nobody asked for");
    *d = calloc(1, sizeof **d);
    **d = (desc){ DESC, compute, scale, 0, 0, 0, 1, 0 };
    live++;
    return SUCCESS;
}

API int cublasLtMatmulDescDestroy(desc *d) { if (d->magic != DESC) return wrong("no description is destroyed"); d->magic = GONE; free(d); live--; return SUCCESS; }

API int cublasLtMatmulDescSetAttribute(desc *d, int attribute, const void *value, size_t bytes)
{
    BEGIN();
    if (d->magic != DESC || !value) return wrong("an attribute of no description");
    static const size_t sizes[] = { 4, 4, 4, 4, 4, 4, 4, 4, 8 };
    if (attribute < 0 || attribute > 8 || bytes != sizes[attribute]) return wrong("an attribute of a description of another size");
    int32_t number = 0;
    memcpy(&number, value, 4);
    switch (attribute)
    {
        case 2: d->pointers = number; return number == 0 || number == 1 ? SUCCESS : wrong("a pointer mode that there is not");
        case 3: d->transposes_a = number; return number == 0 || number == 1 ? SUCCESS : wrong("an operation that there is not");
        case 4: d->transposes_b = number; return number == 0 || number == 1 ? SUCCESS : wrong("an operation that there is not");
        case 7: d->epilogue = (uint32_t)number; return number == 1 || number == 2 || number == 4 || number == 6 || number == 32 || number == 36 ? SUCCESS : wrong("an epilogue that there is not");
        case 8: memcpy(&d->bias, value, 8); return SUCCESS;
        default: return wrong("an attribute of a description that nobody needs");
    }
}

API int cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t columns, int64_t stride)
{
    BEGIN();
    if ((type != R_32F && type != R_16BF) || !rows || !columns || stride < (int64_t)rows) return wrong("a layout whose columns overlap, or of no elements");
    *l = calloc(1, sizeof **l);
    **l = (layout){ LAYOUT, type, rows, columns, stride };
    live++;
    return SUCCESS;
}

API int cublasLtMatrixLayoutDestroy(layout *l) { if (l->magic != LAYOUT) return wrong("no layout is destroyed"); l->magic = GONE; free(l); live--; return SUCCESS; }

API int cublasLtMatmulPreferenceCreate(preference **p) { BEGIN(); *p = calloc(1, sizeof **p); **p = (preference){ PREFERENCE, 0, 7, { 256, 256, 256, 256 } }; live++; return SUCCESS; }
API int cublasLtMatmulPreferenceDestroy(preference *p) { if (p->magic != PREFERENCE) return wrong("no preference is destroyed"); p->magic = GONE; free(p); live--; return SUCCESS; }

API int cublasLtMatmulPreferenceSetAttribute(preference *p, int attribute, const void *value, size_t bytes)
{
    BEGIN();
    if (p->magic != PREFERENCE || !value || bytes != (attribute == 1 ? 8 : 4)) return wrong("an attribute of a preference of another size");
    if (attribute == 1) memcpy(&p->workspace, value, 8);
    else if (attribute == 3) memcpy(&p->schemes, value, 4);
    else if (attribute >= 5 && attribute <= 8) memcpy(&p->alignments[attribute - 5], value, 4);
    else return wrong("an attribute of a preference that nobody needs");
    return SUCCESS;
}

static uint64_t mixed(uint64_t key, const void *bytes, size_t count) { for (size_t i = 0; i < count; i++) key = (key ^ ((const uint8_t *)bytes)[i]) * 1099511628211u; return key; }

// What an algorithm is for: all but where the bias is.
static uint64_t key_of(const desc *d, const layout *a, const layout *b, const layout *c, const layout *r)
{
    int32_t numbers[] = { d->compute, d->scale, d->pointers, d->transposes_a, d->transposes_b, (int32_t)d->epilogue };
    uint64_t key = mixed(14695981039346656037u, numbers, sizeof numbers);
    const layout *all[] = { a, b, c, r };
    for (int i = 0; i < 4; i++) { uint64_t sizes[] = { (uint64_t)all[i]->type, all[i]->rows, all[i]->columns, (uint64_t)all[i]->stride }; key = mixed(key, sizes, sizeof sizes); }
    return key;
}

// The contracted extent; zero where the matrices do not fit each other, or their types are no combination that the library has.
static uint64_t depth_of(const desc *d, const layout *a, const layout *b, const layout *c, const layout *r)
{
    if (d->magic != DESC || a->magic != LAYOUT || b->magic != LAYOUT || c->magic != LAYOUT || r->magic != LAYOUT) { wrong("a description or a layout that is gone"); return 0; }
    uint64_t rows = d->transposes_a ? a->columns : a->rows, depth = d->transposes_a ? a->rows : a->columns, met = d->transposes_b ? b->columns : b->rows, columns = d->transposes_b ? b->rows : b->columns;
    if (depth != met || rows != r->rows || columns != r->columns || c->rows != r->rows || c->columns != r->columns) { wrong("matrices that do not fit each other"); return 0; }
    int known = a->type == b->type && c->type == R_32F && r->type == R_32F && (a->type == R_32F || d->compute == COMPUTE_32F);
    if (!known) wrong("types that are not multiplied");
    return known ? depth : 0;
}

API int cublasLtMatmulAlgoGetHeuristic(uint32_t *handle, desc *d, layout *a, layout *b, layout *c, layout *r, preference *p, int most, recommended *results, int *count)
{
    *count = 0;
    BEGIN();
    if (*handle != HANDLE || p->magic != PREFERENCE || most < 1) return wrong("algorithms are asked for of nobody");
    if (!depth_of(d, a, b, c, r)) return INVALID_VALUE;
    if (p->schemes & 1) return wrong("algorithms may add parts as they come");
    if ((d->epilogue & EPILOGUE_BIAS) && (!d->bias || d->bias % 4)) return wrong("a bias that begins within a number");
    for (int i = 0; i < 4; i++)
        if (!p->alignments[i] || (p->alignments[i] & (p->alignments[i] - 1)) || p->alignments[i] % (i < 2 ? (a->type == R_16BF ? 2 : 4) : 4)) return wrong("an alignment that is no power of two, or within a number");
    if (wanted == (size_t)-1) return SUCCESS;
    memset(results, 0, sizeof *results);
    results->workspace = wanted;
    results->algo = (algorithm){ ALGORITHM, key_of(d, a, b, c, r), wanted, { p->alignments[0], p->alignments[1], p->alignments[2], p->alignments[3] }, d->bias & -d->bias, { 0, 0 } };
    *count = 1;
    return SUCCESS;
}

static uint64_t bytes_of(const layout *l) { return ((l->columns - 1) * (uint64_t)l->stride + l->rows) * (l->type == R_16BF ? 2 : 4); }
static int overlaps(uint64_t p, const layout *l, uint64_t q, const layout *m) { return p < q + bytes_of(m) && q < p + bytes_of(l); }

// Checks a call and keeps what it says; what is behind pointers is read when it runs, but for numbers on the host.
API int standin_blas_prepare(uint32_t *handle, desc *d, const void *alpha, uint64_t pa, layout *a, uint64_t pb, layout *b, const void *beta, uint64_t pc, layout *c, uint64_t pd, layout *r, const algorithm *algo, uint64_t workspace, size_t bytes, void *stream, job **result)
{
    int failed = failing("cublasLtMatmul");
    if (failed) return failed;
    if (*handle != HANDLE || !stream || !alpha || !beta) return wrong("a product of nobody, in no stream, or without its numbers");
    if (!depth_of(d, a, b, c, r)) return INVALID_VALUE;
    if (algo->magic != ALGORITHM || algo->key != key_of(d, a, b, c, r)) return wrong("an algorithm for another product");
    if (bytes < algo->workspace || (algo->workspace && (!workspace || workspace % 16))) return wrong("a workspace that is smaller than the algorithm's, or misaligned");
    const layout *all[] = { a, b, c, r };
    uint64_t places[] = { pa, pb, pc, pd };
    for (int i = 0; i < 4; i++)
    {
        if (!places[i] || places[i] % algo->alignments[i]) return wrong("a matrix is not aligned as was said");
        if (holds && !holds(places[i], bytes_of(all[i]))) return wrong("a matrix that does not lie in the device's memory");
    }

    if (d->epilogue & EPILOGUE_BIAS && (!d->bias || d->bias % algo->bias_alignment || (holds && !holds(d->bias, 4 * r->rows)))) return wrong("a bias that is not aligned as was said, or not in the device's memory");
    if (holds && workspace && !holds(workspace, algo->workspace)) return wrong("a workspace that does not lie in the device's memory");
    if (holds && d->pointers && (!holds((uint64_t)(uintptr_t)alpha, 4) || !holds((uint64_t)(uintptr_t)beta, 4))) return wrong("numbers that do not lie in the device's memory");
    if (overlaps(pd, r, pa, a) || overlaps(pd, r, pb, b) || (pc != pd && overlaps(pd, r, pc, c))) return wrong("a result over what it is made of");
    job *j = malloc(sizeof *j);
    *j = (job){ *d, *a, *b, *c, *r, alpha, beta, { 0, 0 }, pa, pb, pc, pd, calls++ };
    if (!d->pointers) { memcpy(&j->numbers[0], alpha, 4); memcpy(&j->numbers[1], beta, 4); j->alpha = j->beta = 0; }
    jobs++;
    *result = j;
    return SUCCESS;
}

static float at(uint64_t place, const layout *l, uint64_t row, uint64_t column, int tf32)
{
    uint64_t i = row + column * (uint64_t)l->stride;
    uint32_t bits;
    if (l->type == R_16BF) bits = (uint32_t)((const uint16_t *)(uintptr_t)place)[i] << 16;
    else memcpy(&bits, (const float *)(uintptr_t)place + i, 4);
    if (tf32) bits = (bits + 0x1000u) & ~0x1fffu;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

API int standin_blas_run(const job *j)
{
    float alpha = j->alpha ? *(const float *)j->alpha : j->numbers[0], beta = j->beta ? *(const float *)j->beta : j->numbers[1];
    int tf32 = j->d.compute == COMPUTE_32F_FAST_TF32;
    uint64_t depth = j->d.transposes_a ? j->a.rows : j->a.columns;
    double total = 0;
    for (uint64_t column = 0; column < j->r.columns; column++)
        for (uint64_t row = 0; row < j->r.rows; row++)
        {
            float sum = 0;
            for (uint64_t k = 0; k < depth; k++)
                sum = fmaf(at(j->pa, &j->a, j->d.transposes_a ? k : row, j->d.transposes_a ? row : k, tf32), at(j->pb, &j->b, j->d.transposes_b ? column : k, j->d.transposes_b ? k : column, tf32), sum);
            sum *= alpha;
            // Where nothing is added, what is there is not looked at.
            if (beta != 0) sum += beta * at(j->pc, &j->c, row, column, 0);
            if (j->d.epilogue & EPILOGUE_BIAS) sum += ((const float *)(uintptr_t)j->d.bias)[row];
            if (j->d.epilogue & EPILOGUE_RELU) sum = sum > 0 ? sum : 0;
            if (j->d.epilogue & EPILOGUE_GELU) sum = 0.5f * sum * (1 + tanhf(0.7978845608f * (sum + 0.044715f * sum * sum * sum)));
            ((float *)(uintptr_t)j->pd)[row + column * (uint64_t)j->r.stride] = sum;
            total += sum;
        }
    if (j->index == 0) first_sum = total;
    return SUCCESS;
}

API void standin_blas_done(job *j) { free(j); jobs--; }

API int cublasLtMatmul(uint32_t *handle, desc *d, const void *alpha, uint64_t pa, layout *a, uint64_t pb, layout *b, const void *beta, uint64_t pc, layout *c, uint64_t pd, layout *r, const algorithm *algo, uint64_t workspace, size_t bytes, void *stream)
{
    job *j;
    int status = standin_blas_prepare(handle, d, alpha, pa, a, pb, b, beta, pc, c, pd, r, algo, workspace, bytes, stream, &j);
    if (status) return status;
    status = standin_blas_run(j);
    standin_blas_done(j);
    return status;
}
