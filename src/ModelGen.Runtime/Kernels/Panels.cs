using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// Rearranges strips of matrices into the packed panels that emitted matrix tiles read: element (k, j) at k·width + j, with
/// zeros where the strip is narrower than the panel.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe partial class Panels
{
    /// <summary>Asks for weights that are read once, some way ahead: a processor's own streams end at each page. What is more than a few lines away goes to the second-level cache: it would drive the input from the first.</summary>
    /// <param name="p">What is read now.</param>
    /// <param name="bytes">How far ahead.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PrefetchAhead(void* p, int bytes)
    {
        if (Sse.IsSupported)
        {
            if (bytes > 512)
            {
                Sse.Prefetch1((byte*)p + bytes);
            }
            else
            {
                Sse.Prefetch0((byte*)p + bytes);
            }
        }
    }

    /// <summary>Packs <paramref name="columns"/> rows of <paramref name="depth"/> elements each, transposed.</summary>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Elements of a row: the panel's rows.</param>
    /// <param name="columns">Rows to pack, at most <paramref name="width"/>: the panel's columns.</param>
    /// <param name="panel">The panel, of depth · width elements.</param>
    /// <param name="width">The panel's columns, and elements from one of its rows to the next.</param>
    public static void PackTransposed(float* source, int stride, int depth, int columns, float* panel, int width)
        => PackTransposed(source, stride, depth, columns, panel, width, width);

    /// <summary>As the shorter overload, into a panel that is a strip of a wider matrix.</summary>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Elements of a row: the panel's rows.</param>
    /// <param name="columns">Rows to pack, at most <paramref name="width"/>: the panel's columns.</param>
    /// <param name="panel">The panel's first element.</param>
    /// <param name="width">The panel's columns.</param>
    /// <param name="panelStride">Elements from one of the panel's rows to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackTransposed(float* source, int stride, int depth, int columns, float* panel, int width, int panelStride)
    {
        int j = 0;
        if (Avx.IsSupported)
        {
            for (; j <= columns - 8; j += 8)
            {
                Transpose8(source + ((long)j * stride), stride, 8, depth, panel + j, panelStride);
            }
        }

        for (; j < columns; j++)
        {
            float* row = source + ((long)j * stride);
            for (int k = 0; k < depth; k++)
            {
                panel[((long)k * panelStride) + j] = row[k];
            }
        }

        if (columns < width)
        {
            for (int k = 0; k < depth; k++)
            {
                new Span<float>(panel + ((long)k * panelStride) + columns, width - columns).Clear();
            }
        }
    }

    /// <summary>Packs a strip of <paramref name="columns"/> columns of <paramref name="depth"/> rows as it lies.</summary>
    /// <param name="source">The strip's first element.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Rows of the strip.</param>
    /// <param name="columns">Columns of the strip, at most <paramref name="width"/>.</param>
    /// <param name="panel">The panel, of depth · width elements.</param>
    /// <param name="width">Elements from one of the panel's rows to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackRows(float* source, int stride, int depth, int columns, float* panel, int width)
    {
        for (int k = 0; k < depth; k++)
        {
            int j = 0;
            for (; j <= columns - 8; j += 8)
            {
                Vector256.Store(Vector256.Load(source + j), panel + j);
            }

            for (; j < columns; j++)
            {
                panel[j] = source[j];
            }

            for (; j < width; j++)
            {
                panel[j] = 0;
            }

            source += stride;
            panel += width;
        }
    }

    // Eight rows at a time, in 8 × 8 blocks of registers; or six, whose results then overlap: each is stored whole, and the next one
    // puts right what it wrote beyond its six elements.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose8(float* source, int stride, int rows, int depth, float* panel, int width)
    {
        long s = stride;
        long seventh = rows == 8 ? 2 * s : s;
        long eighth = rows == 8 ? 3 * s : s;
        int k = 0;
        for (; k <= depth - 8; k += 8)
        {
            float* p = source + k;
            Vector256<float> r0 = Vector256.Load(p), r1 = Vector256.Load(p + s), r2 = Vector256.Load(p + (2 * s)), r3 = Vector256.Load(p + (3 * s));
            p += 4 * s;
            Vector256<float> r4 = Vector256.Load(p), r5 = Vector256.Load(p + s), r6 = Vector256.Load(p + seventh), r7 = Vector256.Load(p + eighth);
            Vector256<float> t0 = Avx.UnpackLow(r0, r1), t1 = Avx.UnpackHigh(r0, r1), t2 = Avx.UnpackLow(r2, r3), t3 = Avx.UnpackHigh(r2, r3);
            Vector256<float> t4 = Avx.UnpackLow(r4, r5), t5 = Avx.UnpackHigh(r4, r5), t6 = Avx.UnpackLow(r6, r7), t7 = Avx.UnpackHigh(r6, r7);
            r0 = Avx.Shuffle(t0, t2, 0x44);
            r1 = Avx.Shuffle(t0, t2, 0xEE);
            r2 = Avx.Shuffle(t1, t3, 0x44);
            r3 = Avx.Shuffle(t1, t3, 0xEE);
            r4 = Avx.Shuffle(t4, t6, 0x44);
            r5 = Avx.Shuffle(t4, t6, 0xEE);
            r6 = Avx.Shuffle(t5, t7, 0x44);
            r7 = Avx.Shuffle(t5, t7, 0xEE);
            float* q = panel + ((long)k * width);
            Vector256.Store(Avx.Permute2x128(r0, r4, 0x20), q);
            Vector256.Store(Avx.Permute2x128(r1, r5, 0x20), q + width);
            Vector256.Store(Avx.Permute2x128(r2, r6, 0x20), q + (2 * width));
            Vector256.Store(Avx.Permute2x128(r3, r7, 0x20), q + (3 * width));
            q += 4 * width;
            Vector256.Store(Avx.Permute2x128(r0, r4, 0x31), q);
            Vector256.Store(Avx.Permute2x128(r1, r5, 0x31), q + width);
            Vector256.Store(Avx.Permute2x128(r2, r6, 0x31), q + (2 * width));
            Vector256<float> last = Avx.Permute2x128(r3, r7, 0x31);
            if (rows == 8)
            {
                Vector256.Store(last, q + (3 * width));
            }
            else
            {
                Vector128.Store(last.GetLower(), q + (3 * width));
                *(double*)(q + (3 * width) + 4) = last.GetUpper().AsDouble().ToScalar();
            }
        }

        for (; k < depth; k++)
        {
            float* q = panel + ((long)k * width);
            for (int j = 0; j < rows; j++)
            {
                q[j] = source[(j * s) + k];
            }
        }
    }
}
