using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>Lays 16 rows of quantized weights out at once, as <see cref="BlockRows.Put"/> does one by one: words of four rows are turned in registers, at about the speed of memory.</summary>
internal static unsafe class BlockGroups
{
    private const int Rows = BlockRows.GroupRows;
    private const uint Signs = 0x80808080;

    /// <summary>Puts a group's rows, as a file holds them.</summary>
    /// <param name="format">The format.</param>
    /// <param name="rows">The rows, one behind the other.</param>
    /// <param name="rowBytes">The bytes of a row.</param>
    /// <param name="group">The group.</param>
    /// <returns>Whether it was done: not where the format or the processor is another, or where a scale is no number. Then the rows are to be put one by one.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool TryPut(WeightFormat format, byte* rows, int rowBytes, byte* group)
    {
        if (!(Sse2.IsSupported || AdvSimd.Arm64.IsSupported) || format is not (WeightFormat.Q8_0 or WeightFormat.Q4_0))
        {
            return false;
        }

        int numbers = format == WeightFormat.Q8_0 ? 32 : 16, size = sizeof(ushort) + numbers, blocks = rowBytes / size;
        var flip = Vector128.Create(format == WeightFormat.Q8_0 ? Signs : 0);
        ushort* scales = (ushort*)group;
        uint* target = (uint*)(group + BlockRows.ScaleLine);
        int special = 0;
        for (int block = 0; block < blocks; block++)
        {
            for (int row = 0; row < Rows; row++)
            {
                ushort scale = *(ushort*)(rows + ((long)row * rowBytes));
                scales[row] = scale;

                // What is no finite number has all bits of the exponent, from which one more carries.
                special |= (scale & 0x7C00) + 0x0400;
            }

            for (int at = 0; at < numbers; at += 16)
            {
                byte* source = rows + sizeof(ushort) + at;
                for (int row = 0; row < Rows; row += 4)
                {
                    Turn(source, rowBytes, flip, target + row);
                    source += 4L * rowBytes;
                }

                target += 4 * Rows;
            }

            // Two blocks have a line of scales, and then their numbers.
            bool isSecond = block % 2 != 0;
            scales += isSecond ? Rows + (numbers * Rows) : Rows;
            target += isSecond ? Rows : 0;
            rows += size;
        }

        return (special & 0x8000) == 0;
    }

    // Four words of each of four rows: to where the first words of all rows are, and so on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(byte* source, long rowBytes, Vector128<uint> flip, uint* target)
    {
        Vector128<uint> a = Vector128.Load((uint*)source) ^ flip, b = Vector128.Load((uint*)(source + rowBytes)) ^ flip;
        Vector128<uint> c = Vector128.Load((uint*)(source + (2 * rowBytes))) ^ flip, d = Vector128.Load((uint*)(source + (3 * rowBytes))) ^ flip;
        Vector128<uint> ac = Low(a, c), bd = Low(b, d);
        Low(ac, bd).Store(target);
        High(ac, bd).Store(target + Rows);
        (ac, bd) = (High(a, c), High(b, d));
        Low(ac, bd).Store(target + (2 * Rows));
        High(ac, bd).Store(target + (3 * Rows));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Low(Vector128<uint> a, Vector128<uint> b) => Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> High(Vector128<uint> a, Vector128<uint> b) => Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);
}
