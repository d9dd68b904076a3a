using System.Globalization;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>What loading and creating weights stands on: threads of its own, large pages, short sequences.</summary>
public sealed unsafe class LoadingTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1000)]
    public void A_crew_runs_every_number_once(int count)
    {
        int[] runs = new int[count];
        Crew.For(count, index => Interlocked.Increment(ref runs[index]));
        Assert.All(runs, static number => Assert.Equal(1, number));
    }

    [Fact]
    public void A_crew_throws_the_exception_of_the_lowest_number_and_begins_no_more()
    {
        int begun = 0;
        FormatException thrown = Assert.Throws<FormatException>(() => Crew.For(100_000, index =>
        {
            Interlocked.Increment(ref begun);
            if (index >= 3)
            {
                throw new FormatException(index.ToString(CultureInfo.InvariantCulture));
            }
        }));
        Assert.Equal("3", thrown.Message);
        Assert.InRange(begun, 4, 4 + Environment.ProcessorCount);
    }

    [Fact]
    public void Weights_lie_in_large_pages_where_the_system_has_them()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/sys/kernel/mm/transparent_hugepage/enabled"), "This system has no transparent huge pages.");
        var block = new PinnedBlock((32 << 20) / sizeof(float));
        ulong middle = (ulong)block.Floats + (16 << 20);
        bool isInside = false;
        string? flags = null;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            string first = line.Split(' ')[0];
            if (first.Split('-') is [string start, string end] && ulong.TryParse(start, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong from))
            {
                isInside = from <= middle && middle < ulong.Parse(end, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }
            else if (isInside && first == "VmFlags:")
            {
                flags = line;
            }
        }

        GC.KeepAlive(block);
        Assert.Contains(" hg ", flags + " ", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("model.gguf", GgmlType.F32)]
    [InlineData("model.gguf", GgmlType.F16)]
    [InlineData("model.gguf", GgmlType.Q8_0)]
    [InlineData("model.safetensors", GgmlType.F32)]
    [InlineData("model.safetensors", GgmlType.F16)]
    public void A_file_that_is_truncated_while_it_is_open_is_an_error_and_not_the_end_of_the_process(string name, GgmlType type)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows does not let others truncate a file that is read.");
        const int Rows = 64, Columns = 1024;
        using var path = new TemporaryFile(name);
        if (name.EndsWith(".gguf", StringComparison.Ordinal))
        {
            var writer = new GgufWriter();
            writer.Add("a", [Rows, Columns], type, static (_, destination) => destination.Clear());
            writer.Save(path.Path);
        }
        else
        {
            var writer = new SafetensorsWriter();
            writer.Add("a", [Rows, Columns], type == GgmlType.F32 ? SafetensorsType.F32 : SafetensorsType.F16, Rows * Columns, stream => stream.Write(new byte[Rows * Columns * (type == GgmlType.F32 ? 4 : 2)]));
            writer.Save(path.Path);
        }

        using WeightFile file = name.EndsWith(".gguf", StringComparison.Ordinal) ? GgufFile.Open(path.Path) : SafetensorsFile.Open(path.Path);
        WeightTensor tensor = file.Find("a")!;
        (int elements, int bytes) = GgmlBlocks.Size(type);
        byte[] rows = new byte[Rows * (Columns / elements * bytes)];
        float[] floats = new float[Rows * Columns];
        Assert.True(file.TryReadRows(tensor, type, 0, Rows, rows));
        using (var shorter = new FileStream(path.Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            shorter.SetLength(shorter.Length - 1000);
        }

        Assert.Equal("length", Assert.Single(Assert.Throws<ModelFileException>(() => file.TryReadRows(tensor, type, 0, Rows, rows)).Problems).Field);
        Assert.Equal("length", Assert.Single(Assert.Throws<ModelFileException>(() => file.ReadFloats(tensor, 0, floats)).Problems).Field);

        // What is still there is read.
        file.ReadFloats(tensor, 0, floats.AsSpan(0, 100));
    }

    [Fact]
    public void Short_sequences_are_what_LINQ_makes_of_them()
    {
        for (int count = 0; count < 20; count++)
        {
            int[] numbers = [.. Enumerable.Range(0, count)];
            Assert.Equal(Enumerable.Select(numbers, static number => number * 3), Sequences.Map(numbers, static number => number * 3));
            Assert.Equal(Enumerable.Select(numbers, static (number, i) => number - (2 * i)), Sequences.Map(numbers, static (number, i) => number - (2 * i)));
            Assert.Equal(Enumerable.Where(numbers, static number => number % 3 == 1), Sequences.Filter(numbers, static number => number % 3 == 1));
            Assert.Equal(Enumerable.Take(numbers, 7), Sequences.Leading(numbers, 7));
            Assert.Equal(Enumerable.Any(numbers, static number => number == 9), Sequences.Has(numbers, static number => number == 9));
            Assert.Equal(Enumerable.Count(numbers, static number => number > 5), Sequences.CountOf(numbers, static number => number > 5));
            Assert.Equal(Enumerable.FirstOrDefault(numbers, static number => number > 5), Sequences.FirstOf(numbers, static number => number > 5));
            Assert.Equal(Enumerable.Aggregate(numbers, 1L, static (sum, number) => (sum * 7) + number), Sequences.Fold(numbers, 1L, static (sum, number) => (sum * 7) + number));
        }
    }
}
