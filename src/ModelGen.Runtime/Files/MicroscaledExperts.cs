using System.Buffers;
using System.Collections.Immutable;
using static ModelGen.Runtime.RearrangedFile;

namespace ModelGen.Runtime;

/// <summary>
/// The experts of checkpoints whose gates and what they let through are one tensor, under the names of their parts: gpt-oss's, by turns, as rows of 4-bit floats with a shared power of two for each 32 (<c>gate_up_proj_blocks</c>, <c>gate_up_proj_scales</c>:
/// MXFP4 of the OCP Microscaling Formats 1.0) or as transposed floats, with biases; and those of Transformers 5, one above the other, [experts, 2 · hidden, width].
/// </summary>
internal static class MicroscaledExperts
{
    // Columns of a block, and its bytes.
    private const int BlockColumns = 32;
    private const int BlockBytes = 16;

    // Blocks of a row, far more than any model has; and elements of a matrix that is turned, which is read as one array.
    private const long MostBlocks = 1 << 20;
    private const long MostElements = 1 << 30;

    private static readonly string[] s_gateUp = ["gate_proj", "up_proj"];

    /// <summary>What stands in the place of a tensor of a file; null where it is none of these, an empty list where it belongs to another.</summary>
    public static IReadOnlyList<WeightTensor>? Parts(WeightFile file, WeightTensor tensor)
    {
        int end = tensor.Name.LastIndexOf(".experts.", StringComparison.Ordinal);
        if (end < 0)
        {
            return null;
        }

        string prefix = tensor.Name[..(end + ".experts.".Length)];
        switch (tensor.Name[prefix.Length..])
        {
            case "gate_up_proj_blocks" when Blocks(file, tensor, prefix + "gate_up_proj_scales") is { } scales && tensor.Shape[1] % 2 == 0:
                return s_gateUp.Map((name, which) => Unpacked(file, $"{prefix}{name}.weight", tensor, scales, tensor.Shape[1] / 2, row => (2 * row) + which));
            case "down_proj_blocks" when Blocks(file, tensor, prefix + "down_proj_scales") is { } scales:
                return [Unpacked(file, prefix + "down_proj.weight", tensor, scales, tensor.Shape[1], static row => row)];
            case "gate_up_proj_scales" when file.Find(prefix + "gate_up_proj_blocks") is { } blocks && blocks.Shape.Length == 4 && blocks.Shape[1] % 2 == 0 && ReferenceEquals(Blocks(file, blocks, tensor.Name), tensor):
            case "down_proj_scales" when file.Find(prefix + "down_proj_blocks") is { } others && ReferenceEquals(Blocks(file, others, tensor.Name), tensor):
                return [];
            case "gate_up_proj_bias" when tensor is { IsFloat: true, Shape: [_, var both] } && both % 2 == 0:
                return s_gateUp.Map((name, which) => Every(file, $"{prefix}{name}.bias", tensor, which));
            case "down_proj_bias" when tensor is { IsFloat: true, Shape.Length: 2 }:
                return [Rows.Of(prefix + "down_proj.bias", tensor.Shape, tensor)];
            case "gate_up_proj" when tensor is { IsFloat: true, Shape.Length: 3 }:
                bool isTransposed = file.Find(prefix + "gate_up_proj_bias") is not null;
                return tensor.Shape[isTransposed ? 2 : 1] % 2 != 0 || (isTransposed && !CanBeTurned(tensor)) ? null
                    : isTransposed ? s_gateUp.Map((name, which) => Turned(file, $"{prefix}{name}.weight", tensor, 2, which))
                    : FusedView.Halves(tensor, prefix);
            case "down_proj" when tensor is { IsFloat: true, Shape.Length: 3 }:
                bool isTurned = file.Find(prefix + "down_proj_bias") is not null;
                return isTurned && !CanBeTurned(tensor) ? null : [isTurned ? Turned(file, prefix + "down_proj.weight", tensor, 1, 0) : Rows.Of(prefix + "down_proj.weight", tensor.Shape, tensor)];
            default:
                return null;
        }
    }

    /// <summary>The scales of blocks, [experts, rows, blocks, 16] bytes and [experts, rows, blocks]; null where they are no such.</summary>
    private static WeightTensor? Blocks(WeightFile file, WeightTensor blocks, string scales)
        => blocks is { TypeName: "U8", Shape: [_, _, <= MostBlocks, BlockBytes] } && file.Find(scales) is { TypeName: "U8", Shape.Length: 3 } found && found.Shape.AsSpan().SequenceEqual(blocks.Shape.AsSpan()[..3]) ? found : null;

    private static Computed Unpacked(WeightFile file, string name, WeightTensor blocks, WeightTensor scales, long rows, Func<long, long> rowAt)
    {
        long own = blocks.Shape[1];
        int count = checked((int)blocks.Shape[2]), columns = checked(count * BlockColumns);
        return new Computed(name, [blocks.Shape[0], rows, columns], (blocks.ByteLength + scales.ByteLength) * rows / own, "MXFP4", (start, destination) =>
        {
            byte[] bytes = ArrayPool<byte>.Shared.Rent(count * (BlockBytes + 1));
            Span<byte> block = stackalloc byte[BlockBytes + 1];
            Span<float> values = stackalloc float[BlockColumns], inOrder = stackalloc float[BlockColumns];
            try
            {
                Span<byte> numbers = bytes.AsSpan(0, count * BlockBytes), powers = bytes.AsSpan(count * BlockBytes, count);
                while (!destination.IsEmpty)
                {
                    (long row, long column) = Math.DivRem(start, columns);
                    (long expert, long within) = Math.DivRem(row, rows);
                    long source = (expert * own) + rowAt(within);
                    file.TryReadBytes(blocks, source * numbers.Length, numbers);
                    file.TryReadBytes(scales, source * count, powers);
                    int read = (int)Math.Min(columns - column, destination.Length);
                    for (int at = 0; at < read;)
                    {
                        (int number, int first) = Math.DivRem((int)column + at, BlockColumns);
                        block[0] = powers[number];
                        numbers.Slice(number * BlockBytes, BlockBytes).CopyTo(block[1..]);
                        Read(block, values);
                        for (int i = 0; i < BlockBytes; i++)
                        {
                            // ggml's byte holds elements half a block apart, and this one neighbours.
                            (inOrder[2 * i], inOrder[(2 * i) + 1]) = (values[i], values[i + BlockBytes]);
                        }

                        int some = Math.Min(BlockColumns - first, read - at);
                        inOrder.Slice(first, some).CopyTo(destination[at..]);
                        at += some;
                    }

                    destination = destination[read..];
                    start += read;
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(bytes);
            }
        });
    }

    private static unsafe void Read(ReadOnlySpan<byte> block, Span<float> values)
    {
        fixed (byte* data = block)
        {
            GgmlBlocks.Read(GgmlType.MXFP4, data, 0, values);
        }
    }

    /// <summary>Every second column.</summary>
    private static Computed Every(WeightFile file, string name, WeightTensor tensor, int which)
    {
        ImmutableArray<long> shape = [tensor.Shape[0], tensor.Shape[1] / 2];
        return new Computed(name, shape, tensor.ByteLength / 2, tensor.TypeName, (start, destination) =>
        {
            float[] all = ArrayPool<float>.Shared.Rent(2 * destination.Length);
            file.ReadFloats(tensor, 2 * start, all.AsSpan(0, 2 * destination.Length));
            for (int i = 0; i < destination.Length; i++)
            {
                destination[i] = all[(2 * i) + which];
            }

            ArrayPool<float>.Shared.Return(all);
        });
    }

    private static bool CanBeTurned(WeightTensor tensor) => (Int128)tensor.Shape[1] * tensor.Shape[2] <= MostElements;

    /// <summary>Every so manieth column of each matrix as a row.</summary>
    private static Computed Turned(WeightFile file, string name, WeightTensor tensor, int each, int which)
    {
        long width = tensor.Shape[1], all = tensor.Shape[2], rows = all / each, size = checked(width * all);

        // A matrix is read whole, since what a row is made of lies all over it, and is kept for the next rows as long as nobody needs its memory.
        (long Number, WeakReference<float[]> Values) latest = (-1, new WeakReference<float[]>([]));
        var sync = new Lock();
        return new Computed(name, [tensor.Shape[0], rows, width], tensor.ByteLength / each, tensor.TypeName, (start, destination) =>
        {
            while (!destination.IsEmpty)
            {
                (long expert, long within) = Math.DivRem(start, rows * width);
                float[] matrix = Matrix(expert);
                int read = (int)Math.Min((rows * width) - within, destination.Length);
                for (int i = 0; i < read; i++)
                {
                    (long row, long column) = Math.DivRem(within + i, width);
                    destination[i] = matrix[(column * all) + (each * row) + which];
                }

                destination = destination[read..];
                start += read;
            }
        });

        float[] Matrix(long expert)
        {
            lock (sync)
            {
                if (latest.Number == expert && latest.Values.TryGetTarget(out float[]? known))
                {
                    return known;
                }

                float[] matrix = new float[size];
                file.ReadFloats(tensor, expert * size, matrix);
                latest = (expert, new WeakReference<float[]>(matrix));
                return matrix;
            }
        }
    }
}
