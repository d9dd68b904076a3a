// Loads an image, has the managed code run its commands, and writes the memory back.
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

void leaf_run(unsigned char *image);

// The transitions between native and managed code, which have nothing to do where there is neither a garbage collector nor a second thread.
void RhpReversePInvoke(void *frame) { (void)frame; }
void RhpReversePInvokeReturn(void *frame) { (void)frame; }
void RhpPInvoke(void *frame) { (void)frame; }
void RhpPInvokeReturn(void *frame) { (void)frame; }

// What compiled code asks before it takes an instruction that not every processor has: of those, products of bytes (sdot) is what kernels ask for.
#define FEATURE_DOT_PRODUCT 4
#define HWCAP_DOT_PRODUCT (1 << 20)
int g_cpuFeatures;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 3) fail("takes the paths of an image and of the result", argv[0]);
    FILE *in = fopen(argv[1], "rb");
    if (!in || fseek(in, 0, SEEK_END)) fail("cannot be read", argv[1]);
    size_t size = (size_t)ftell(in);
    rewind(in);
    unsigned char *image = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!image || fread(image, 1, size, in) != size) fail("cannot be loaded", argv[1]);
    fclose(in);

    g_cpuFeatures = getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT ? FEATURE_DOT_PRODUCT : 0;
    leaf_run(image);

    FILE *out = fopen(argv[2], "wb");
    if (!out || fwrite(image, 1, size, out) != size || fclose(out)) fail("cannot be written", argv[2]);
    return 0;
}
