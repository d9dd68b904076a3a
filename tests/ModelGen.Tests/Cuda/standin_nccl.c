// A library in the place of libnccl.so.2, for what the stand-in in C# cannot show: that the runtime finds its functions in a library and gives a meeting's
// name by value, and that a step which adds gradients allocates nothing. One rank alone meets, whose sums are what it has.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char bytes[128]; } unique_id;

static long live, sums, floats;

#define API __attribute__((visibility("default"))) int

API standin_nccl_live(void) { return (int)live; }
API standin_nccl_sums(void) { return (int)sums; }
API standin_nccl_floats(void) { return (int)floats; }

__attribute__((visibility("default"))) const char *ncclGetErrorString(int result) { return result == 4 ? "invalid argument" : "unknown result code"; }
API ncclGetVersion(int *version) { *version = 22304; return 0; }
API ncclGetUniqueId(unique_id *id) { for (int i = 0; i < 128; i++) id->bytes[i] = (char)(7 * i + 1); return 0; }
API ncclCommInitRank(void **comm, int ranks, unique_id id, int rank)
{
    for (int i = 0; i < 128; i++)
        if (id.bytes[i] != (char)(7 * i + 1)) return 4;
    *comm = malloc(1);
    live++;
    return ranks == 1 && rank == 0 ? 0 : 4;
}
API ncclCommDestroy(void *comm) { free(comm); live--; return 0; }
API ncclCommAbort(void *comm) { free(comm); live--; return 0; }
API ncclCommGetAsyncError(void *comm, int *result) { *result = 0; return comm ? 0 : 4; }
API ncclAllReduce(const void *send, void *receive, size_t count, int type, int operation, void *comm, void *stream)
{
    if (!send || send != receive || !count || type != 7 || operation != 0 || !comm || !stream) return 4;
    sums++;
    floats = (long)count;
    return 0;
}
