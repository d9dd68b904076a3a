using ModelGen.Leaf;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ArmTests;

/// <summary>Products with quantized weights on arm64, of every format.</summary>
[Collection(ArmTestGroup.Name)]
public sealed class WeightFormatTests(ArmFixture fixture)
{
    private const int Rows = 16;
    private const int Inputs = 5;

    // Of the largest of a block of 32, which an input's numbers are rounded by; sums make much less of it.
    private const double Tolerance = 0.02;

    public static TheoryData<WeightFormat, int, string> Formats
    {
        get
        {
            var cases = new TheoryData<WeightFormat, int, string>();
            foreach (WeightFormat format in Enum.GetValues<WeightFormat>().Where(format => format is not (WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16)))
            {
                foreach (int columns in format.ToString().EndsWith('K') ? new[] { 256, 768 } : [32, 96, 544])
                {
                    cases.Add(format, columns, ArmFixture.Oldest);
                    cases.Add(format, columns, ArmFixture.Newest);
                }
            }

            return cases;
        }
    }

    /// <summary>The bits of x64, at 128 bits, and what double precision makes of the numbers that the weights stand for.</summary>
    [ArmTheory]
    [MemberData(nameof(Formats))]
    public void Products_are_those_of_x64(WeightFormat format, int columns, string processor)
    {
        var random = new Random(columns);
        MemoryImage image = new();
        float[] input = [.. Enumerable.Range(0, Inputs * columns).Select(i => (float)(random.NextDouble() - 0.5) * MathF.Pow(4, i / 32 % 3))];
        float[] weights = [.. Enumerable.Range(0, Rows * columns).Select(_ => (float)(random.NextDouble() + random.NextDouble() - 1))];
        long at = image.Place<float>(weights), sums = image.Reserve(3 * Inputs * Rows, zero: true);
        image.Add(new Command
        {
            Kind = CommandKind.Products,
            Which = (int)format,
            Length = columns,
            Count = Inputs,
            Weights = at,
            From = image.Place<float>(input),
            To = sums,
            State = image.Reserve((Rows * columns / 3) + 128),
            Arena = image.Reserve(Inputs * ((columns * 11 / 32) + 32)),
            Scratch = image.Reserve(columns * 5),
        });
        byte[] here = fixture.Assembly.RunHere(image.ToArray()), arm = fixture.Program.RunEmulated(image.ToArray(), processor);
        image.CheckRedZones(here);
        image.CheckRedZones(arm);
        float[] stood = MemoryImage.Floats(arm, at, weights.Length).ToArray();
        Assert.Equal(MemoryImage.Floats(here, at, weights.Length).ToArray(), stood);
        float[] expected = new float[Inputs * Rows];
        for (int i = 0; i < expected.Length; i++)
        {
            expected[i] = (float)Enumerable.Range(0, columns).Sum(k => (double)input[(i / Rows * columns) + k] * stood[(i % Rows * columns) + k]);
        }

        float[] single = MemoryImage.Floats(arm, sums, expected.Length).ToArray();
        Compare.RelativeToNorm(expected, single, Tolerance, $"{format}, {columns} columns");
        Compare.RelativeToNorm(weights, stood, 0.2, $"{format}, {columns} columns, weights");
        Assert.Equal(MemoryImage.Floats(here, sums, 3 * expected.Length).ToArray(), MemoryImage.Floats(arm, sums, 3 * expected.Length).ToArray());
        Assert.Equal(single, MemoryImage.Floats(arm, sums + (2L * sizeof(float) * expected.Length), expected.Length).ToArray());
        if (!format.ToString().EndsWith('K'))
        {
            Assert.Equal(single, MemoryImage.Floats(arm, sums + (1L * sizeof(float) * expected.Length), expected.Length).ToArray());
        }
    }
}
