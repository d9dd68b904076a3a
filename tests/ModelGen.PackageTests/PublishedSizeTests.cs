using System.Globalization;

namespace ModelGen.PackageTests;

/// <summary>A program that reads weight files of every format and generates is small when it is published with NativeAOT.</summary>
[Collection(PackageCollection.Name)]
public sealed class PublishedSizeTests(PackageFeed feed)
{
    // A few percent above what it is. What makes it grow at once, by 200 kB, is the loader of generic types: a delegate in the runtime that takes or returns a tuple of references needs it.
    private const long Limit = 2_150_000;

    private const int Layers = 5, Width = 64, Hidden = 172, Heads = 8, KeyValueHeads = 4, Vocabulary = 512, Context = 512, Tokens = 20;

    [Fact]
    public void A_program_with_all_readers_stays_below_its_limit_and_generates()
    {
        NativeAot.Require();
        string folder = feed.NewProject("stories", $"<TargetFramework>{NativeAot.Framework}</TargetFramework><PublishAot>true</PublishAot><TrimmerSingleWarn>false</TrimmerSingleWarn>", "Stories");
        string output = Path.Combine(folder, "out"), program = Path.Combine(output, "stories"), weights = Path.Combine(folder, "weights.bin");
        CommandResult publish = Command.Dotnet(folder, "publish", "-c", "Release", "-r", NativeAot.RuntimeIdentifier, "-clp:NoSummary", "-o", output).Succeeded();
        Assert.Empty(publish.Warnings);

        WriteWeights(weights);
        CommandResult run = Command.Run(folder, program, [weights, Tokens.ToString(CultureInfo.InvariantCulture)]).Succeeded();
        Assert.Equal(Tokens, run.Lines.Count());
        Assert.All(run.Lines, static line => Assert.InRange(int.Parse(line, CultureInfo.InvariantCulture), 0, Vocabulary - 1));
        Assert.InRange(new FileInfo(program).Length, 1, Limit);
    }

    // A file of llama2.c: seven integers, then all matrices, norms and tables of angles.
    private static void WriteWeights(string path)
    {
        const int keys = Width / Heads * KeyValueHeads;
        const int elements = (Vocabulary * Width) + (Layers * ((2 * Width) + (2 * Width * Width) + (2 * keys * Width) + (3 * Hidden * Width))) + Width + (Context * (Width / Heads));
        var random = new Random(1);
        using var writer = new BinaryWriter(File.Create(path));
        foreach (int size in (ReadOnlySpan<int>)[Width, Hidden, Layers, Heads, KeyValueHeads, Vocabulary, Context])
        {
            writer.Write(size);
        }

        for (int i = 0; i < elements; i++)
        {
            writer.Write(random.NextSingle() - 0.5f);
        }
    }
}
