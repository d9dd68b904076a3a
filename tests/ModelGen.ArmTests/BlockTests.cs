using System.Runtime.InteropServices;
using ModelGen.Leaf;
using ModelGen.Runtime;

namespace ModelGen.ArmTests;

/// <summary>Quantized weights and caches on arm64: integers are exact, and floats are added up in one order, so that every bit is x64's.</summary>
[Collection(ArmTestGroup.Name)]
public sealed class BlockTests(ArmFixture fixture)
{
    private const int GroupRows = 16;

    // Of an unpacked group, in 32 columns.
    private const int UnpackedBytes = 640;

    public static TheoryData<WeightFormat, string> Formats
    {
        get
        {
            var data = new TheoryData<WeightFormat, string>();
            foreach (WeightFormat format in Enum.GetValues<WeightFormat>().Except([WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16]))
            {
                data.Add(format, ArmFixture.Oldest);
                data.Add(format, ArmFixture.Newest);
            }

            return data;
        }
    }

    [ArmTheory]
    [MemberData(nameof(Formats))]
    public unsafe void Products_of_quantized_weights_are_those_of_x64(WeightFormat format, string processor)
    {
        bool isSuper = format is WeightFormat.Q4_K or WeightFormat.Q5_K or WeightFormat.Q6_K;
        MemoryImage image = new();
        var random = new Random(1);
        var products = new List<(int Rows, int Columns, long Inputs, long Packed, long Rounded, long Sums, bool[] IsWritten)>();
        foreach (int blocks in isSuper ? new[] { 8, 24 } : [1, 3, 8])
        {
            int columns = 32 * blocks;
            (int fileBytes, int groupBytes, int inputBytes) = fixture.Assembly.Bytes((int)format, columns);
            byte[] weights = fixture.Assembly.Store((int)format, [.. Enumerable.Range(0, GroupRows * columns).Select(i => (random.NextSingle() - 0.4f) * (1 + (i % 5)))]);
            long file = image.Place<byte>(weights);
            foreach (int rows in new[] { 1, 5 })
            {
                // One block of zeros, and blocks of other magnitudes.
                long inputs = image.Place<float>([.. Enumerable.Range(0, rows * columns).Select(i => i / 32 % 7 == 2 ? 0 : (random.NextSingle() - 0.5f) * MathF.Pow(10, (i / 32 % 5) - 2))]);
                long packed = image.Reserve(groupBytes / 4, zero: true), together = image.Reserve(groupBytes / 4, zero: true), rounded = image.Reserve(rows * inputBytes / 4, zero: true);
                long unpacked = image.Reserve(blocks * UnpackedBytes / 4, zero: true), sums = image.Reserve(3 * rows * GroupRows, zero: true);
                products.Add((rows, columns, inputs, packed, rounded, sums, [true, true, !isSuper]));
                image.Add(new Command
                {
                    Kind = CommandKind.Product,
                    Which = (int)format,
                    From = file,
                    Length = fileBytes,
                    Weights = packed,
                    Gradients = together,
                    Arena = inputs,
                    State = rounded,
                    Scratch = unpacked,
                    To = sums,
                    Count = columns,
                    Position = rows,
                });
            }
        }

        byte[] here = fixture.Assembly.RunHere(image.ToArray());
        byte[] arm = fixture.Program.RunEmulated(image.ToArray(), processor);
        image.CheckRedZones(here);
        image.CheckRedZones(arm);
        foreach ((int rows, int columns, long inputs, long packed, long rounded, long sums, bool[] isWritten) in products)
        {
            float[] x = MemoryImage.Floats(arm, inputs, rows * columns).ToArray(), weights = new float[GroupRows * columns];
            int inputBytes = fixture.Assembly.Bytes((int)format, columns).Input;
            for (int row = 0; row < GroupRows; row++)
            {
                fixed (byte* group = arm.AsSpan((int)packed))
                fixed (float* to = weights.AsSpan(row * columns))
                {
                    BlockRows.Read(format, group, row, columns, to);
                }
            }

            for (int way = 0; way < isWritten.Length; way++)
            {
                ReadOnlySpan<float> found = MemoryImage.Floats(arm, sums, 3 * rows * GroupRows).Slice(way * rows * GroupRows, rows * GroupRows);
                for (int row = 0; row < rows && isWritten[way]; row++)
                {
                    ReadOnlySpan<sbyte> numbers = MemoryMarshal.Cast<byte, sbyte>(arm.AsSpan((int)rounded + (row * inputBytes), columns));
                    ReadOnlySpan<float> scales = MemoryMarshal.Cast<byte, float>(arm.AsSpan((int)rounded + (row * inputBytes) + columns, columns / 8));
                    for (int n = 0; n < GroupRows; n++)
                    {
                        double expected = 0, magnitude = 0;
                        for (int k = 0; k < columns; k++)
                        {
                            double step = scales[k / 32], product = (double)weights[(n * columns) + k] * numbers[k] * step;
                            Assert.InRange(Math.Abs((numbers[k] * step) - x[(row * columns) + k]), 0, (step / 2 * 1.0001) + 1e-30);
                            expected += product;
                            magnitude += Math.Abs(product);
                        }

                        Assert.Equal(expected, found[(row * GroupRows) + n], (magnitude * 1e-6) + 1e-30);
                    }
                }
            }
        }

        SameBits(here, arm);
    }

    [ArmTheory]
    [InlineData(ArmFixture.Oldest)]
    [InlineData(ArmFixture.Newest)]
    public void Rows_of_caches_are_those_of_x64(string processor)
    {
        MemoryImage image = new();
        var random = new Random(2);
        var rows = new List<(int Which, int Columns, long Values, long Read)>();
        foreach ((int which, int columns) in new[] { (0, 1), (0, 19), (0, 64), (0, 97), (1, 32), (1, 96) })
        {
            long values = image.Place<float>([.. Enumerable.Range(0, columns).Select(i => i % 11 == 3 ? 0 : (random.NextSingle() - 0.5f) * MathF.Pow(10, (i % 7) - 5))]);
            long read = image.Reserve(columns, zero: true);
            rows.Add((which, columns, values, read));
            image.Add(new Command { Kind = CommandKind.CacheRow, Which = which, From = values, To = image.Reserve(2 * columns, zero: true), Arena = read, Count = columns });
        }

        byte[] here = fixture.Assembly.RunHere(image.ToArray());
        byte[] arm = fixture.Program.RunEmulated(image.ToArray(), processor);
        image.CheckRedZones(here);
        image.CheckRedZones(arm);
        foreach ((int which, int columns, long values, long read) in rows)
        {
            ReadOnlySpan<float> expected = MemoryImage.Floats(arm, values, columns), found = MemoryImage.Floats(arm, read, columns);
            for (int i = 0; i < columns; i++)
            {
                float most = 0;
                foreach (float x in expected.Slice(i / 32 * 32, Math.Min(32, columns - (i / 32 * 32))))
                {
                    most = Math.Max(most, Math.Abs(x));
                }

                Assert.Equal(which == 0 ? (float)(Half)expected[i] : expected[i], found[i], which == 0 ? 0 : most / 253);
            }
        }

        SameBits(here, arm);
    }

    private static void SameBits(ReadOnlySpan<byte> here, ReadOnlySpan<byte> arm)
    {
        int same = here.CommonPrefixLength(arm);
        Assert.True(same == here.Length, $"From byte {same} of {here.Length} on, the memory is another than on x64.");
    }
}
