// A library in the place of libcuda.so.1, for what the stand-in in C# cannot show: that the runtime finds a driver's functions in a library, and
// that a call of a session or a trainer allocates nothing. Memory is the processor's, copies copy, and kernels do nothing. What the environment says is
// wrong with it: STANDIN_VERSION, STANDIN_DEVICES and STANDIN_CAPABILITY (another version, number of devices, major capability), STANDIN_BYTES (less memory), STANDIN_LOST_AT
// (the launch at which the device is lost, whereupon all that is asked of it fails).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static long launches, together, graphs, memory, streams, bytes_used, lost;
static int fail_after = -1, fail_code;
static struct { uint64_t address; size_t bytes; } given[1024];

static long setting(const char *name, long otherwise) { const char *text = getenv(name); return text ? atol(text) : otherwise; }

// What a call answers that the device must be there for: nothing but an error once it is lost.
static int alive(void) { return lost ? 719 : 0; }
static int launched(void) { static long count; lost |= ++count == setting("STANDIN_LOST_AT", -1); return alive(); }

#define API __attribute__((visibility("default"))) int

// Launches of graphs and of blocks that stay from now on until one fails, and with what.
API standin_fail(int after, int code) { fail_after = after; fail_code = code; return 0; }
API standin_launches(void) { return (int)launches; }
API standin_together(void) { return (int)together; }
API standin_graphs(void) { return (int)graphs; }
API standin_live(void) { return (int)(memory + streams); }

API cuInit(unsigned flags) { return flags; }
API cuDriverGetVersion(int *version) { *version = (int)setting("STANDIN_VERSION", 12040); return 0; }
API cuGetErrorName(int error, const char **text) { *text = error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN"; return 0; }
API cuGetErrorString(int error, const char **text) { *text = error == 719 ? "unspecified launch failure" : error == 2 ? "out of memory" : "unknown error"; return 0; }
API cuDeviceGetCount(int *count) { *count = (int)setting("STANDIN_DEVICES", 1); return 0; }
API cuDeviceGet(int *device, int index) { *device = index; return index == 0 ? 0 : 101; }
API cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Stand-in library", (size_t)length); return device; }
API cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? (int)setting("STANDIN_CAPABILITY", 9) : attribute == 16 ? 132 : attribute == 95 ? 1 : 0; return device; }
API cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)setting("STANDIN_BYTES", 1L << 30); return device; }
API cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return device; }
API cuCtxSetCurrent(void *context) { return context == (void *)1 ? 0 : 201; }
API cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    int i = 0;
    while (i < 1023 && given[i].address) i++;
    if (lost || bytes_used + (long)bytes > setting("STANDIN_BYTES", 1L << 40) || i == 1023) return lost ? 719 : 2;
    *address = (uint64_t)(uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    given[i].address = *address;
    given[i].bytes = bytes;
    bytes_used += (long)bytes;
    memory++;
    return *address ? 0 : 2;
}
API cuMemFree_v2(uint64_t address)
{
    int i = 0;
    while (i < 1023 && given[i].address != address) i++;
    if (i == 1023) return 1;
    bytes_used -= (long)given[i].bytes;
    given[i].address = 0;
    free((void *)(uintptr_t)address);
    memory--;
    return alive();
}
API cuMemHostAlloc(void **host, size_t bytes, unsigned flags) { *host = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096); memory++; return *host ? (int)flags : 2; }
API cuMemFreeHost(void *host) { free(host); memory--; return 0; }
API cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) { (void)stream; memcpy((void *)(uintptr_t)to, from, bytes); return alive(); }
API cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) { (void)stream; memcpy(to, (void *)(uintptr_t)from, bytes); return alive(); }
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) { (void)stream; memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes); return 0; }
API cuMemsetD32Async(uint64_t to, unsigned value, size_t words, void *stream) { (void)stream; for (size_t i = 0; i < words; i++) ((unsigned *)(uintptr_t)to)[i] = value; return alive(); }
API cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); streams++; return flags == 1 ? 0 : 1; }
API cuStreamDestroy_v2(void *stream) { free(stream); streams--; return 0; }
API cuStreamSynchronize(void *stream) { (void)stream; return alive(); }
API cuStreamQuery(void *stream) { (void)stream; return 0; }
API cuStreamBeginCapture_v2(void *stream, int mode) { return stream && mode == 1 ? 0 : 1; }
API cuStreamEndCapture(void *stream, void **graph) { *graph = stream; return 0; }
API cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) { *executable = malloc(1); memory++; return graph && !flags ? 0 : 1; }
API cuGraphLaunch(void *executable, void *stream) { graphs++; return !executable || !stream ? 400 : fail_after >= 0 && fail_after-- == 0 ? fail_code : launched(); }
API cuGraphExecDestroy(void *executable) { free(executable); memory--; return 0; }
API cuGraphDestroy(void *graph) { return graph ? 0 : 400; }
API cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) { (void)options; (void)values; *module = (void *)image; return strstr(image, ".version 7.0") && count == 4 ? 0 : 218; }
API cuFuncSetAttribute(void *function, int attribute, int value) { return function && attribute == 8 && value > 0 ? 0 : 1; }
API cuModuleUnload(void *module) { return module ? 0 : 400; }
API cuModuleGetFunction(void **function, void *module, const char *name) { *function = (void *)1; return module && *name ? 0 : 500; }
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *function, int threads, size_t shared) { *blocks = 2048 / threads; return function && !shared ? 0 : 1; }
API cuLaunchCooperativeKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream, void **arguments)
{
    together++;
    return !(function && x > 1 && x <= 132 * 8 && y == 1 && z == 1 && tx == 256 && ty == 1 && tz == 1 && !shared && stream && arguments) ? 1 : fail_after >= 0 && fail_after-- == 0 ? fail_code : launched();
}
API cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream, void **arguments, void **extra)
{
    launches++;
    return function && x && y && y < 65536 && z == 1 && tx && tx <= 1024 && ty == 1 && tz == 1 && !shared && stream && arguments && !extra ? launched() : 1;
}
