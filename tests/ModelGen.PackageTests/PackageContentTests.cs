using System.IO.Compression;
using System.Text;
using System.Xml.Linq;

namespace ModelGen.PackageTests;

[Collection(PackageCollection.Name)]
public sealed class PackageContentTests(PackageFeed feed)
{
    private static readonly string[] Expected =
    [
        "ModelGen.nuspec",
        "README.md",
        "analyzers/dotnet/cs/ModelGen.CodeFixes.dll",
        "analyzers/dotnet/cs/ModelGen.Generator.dll",
        "build/ModelGen.props",
        "build/ModelGen.targets",
        "buildTransitive/ModelGen.props",
        "buildTransitive/ModelGen.targets",
        "lib/net10.0/ModelGen.dll",
        "lib/net10.0/ModelGen.xml",
        "lib/net9.0/ModelGen.dll",
        "lib/net9.0/ModelGen.xml",
    ];

    [Fact]
    public void PackMakesOnePackage()
        => Assert.Equal([Path.GetFileName(feed.PackagePath)], Directory.GetFiles(feed.Folder).Select(Path.GetFileName));

    [Fact]
    public void PackageHoldsTheseFilesAndNoOther()
    {
        using ZipArchive package = ZipFile.OpenRead(feed.PackagePath);
        string[] files = [.. package.Entries.Select(e => e.FullName).Where(IsContent).Order(StringComparer.Ordinal)];
        Assert.Equal(Expected, files);
    }

    [Fact]
    public void PackageDependsOnNothing()
    {
        using ZipArchive package = ZipFile.OpenRead(feed.PackagePath);
        using Stream stream = package.GetEntry("ModelGen.nuspec")!.Open();
        XElement root = XDocument.Load(stream).Root!;
        XNamespace ns = root.Name.Namespace;
        Assert.Equal(["net10.0", "net9.0"], root.Descendants(ns + "group").Select(g => (string)g.Attribute("targetFramework")!).Order(StringComparer.Ordinal));
        Assert.Empty(root.Descendants(ns + "dependency"));
        Assert.Equal("MIT", (string)root.Descendants(ns + "license").Single());
        Assert.Equal("README.md", (string)root.Descendants(ns + "readme").Single());
    }

    public static TheoryData<string> PackagesBeside => [.. Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.csproj", SearchOption.AllDirectories)
        .Where(static path => XDocument.Load(path).Descendants("IsPackable").Any(static element => (string)element == "true"))
        .Select(static path => Path.GetFileNameWithoutExtension(path)).Where(static name => name != "ModelGen.Runtime").Order(StringComparer.Ordinal)];

    [Fact]
    public void ThesePackagesAreBesideTheCore()
        => Assert.Equal(["ModelGen.Extensions.AI", "ModelGen.Plots", "ModelGen.TensorBoard", "ModelGen.Text", "ModelGen.Tool"], PackagesBeside.Select(static row => row.Data));

    /// <summary>The page of a package without a readme says nothing of how it is used.</summary>
    [Theory]
    [MemberData(nameof(PackagesBeside))]
    public void PackagesBesideTheCoreSayWhatTheyAreFor(string name)
    {
        string folder = feed.NewFolder();
        feed.Pack(folder, name);
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(folder, $"{name}.{feed.Version}.nupkg"));
        using Stream stream = package.GetEntry($"{name}.nuspec")!.Open();
        XElement root = XDocument.Load(stream).Root!;
        XNamespace ns = root.Name.Namespace;
        Assert.Equal("MIT", (string)root.Descendants(ns + "license").Single());
        Assert.Equal("README.md", (string)root.Descendants(ns + "readme").Single());
        using var reader = new StreamReader(package.Entries.Single(static entry => entry.FullName == "README.md").Open());
        string readme = reader.ReadToEnd();
        Assert.Equal(File.ReadAllText(Path.Combine(Repository.Root, "src", name, "README.md")), readme);
        Assert.StartsWith(name == "ModelGen.Tool" ? "# modelgen" : $"# {name}", readme, StringComparison.Ordinal);
        Assert.Contains("```", readme, StringComparison.Ordinal);
        Assert.Single(package.Entries, static entry => entry.FullName.EndsWith(".md", StringComparison.Ordinal));
    }

    [Fact]
    public void PublicTypesAreDocumented()
    {
        using ZipArchive package = ZipFile.OpenRead(feed.PackagePath);
        foreach (string path in new[] { "lib/net9.0/ModelGen.xml", "lib/net10.0/ModelGen.xml" })
        {
            using Stream stream = package.GetEntry(path)!.Open();
            HashSet<string> names = [.. XDocument.Load(stream).Descendants("member").Select(m => (string)m.Attribute("name")!)];
            foreach (string type in new[] { "T:ModelGen.GptAttribute", "T:ModelGen.MlpAttribute", "T:ModelGen.RecurrentLmAttribute", "T:ModelGen.TrainableAttribute", "T:ModelGen.AdamW" })
            {
                Assert.Contains(type, names);
            }
        }
    }

    [Fact]
    public void PackingTwiceGivesTheSameBytes()
    {
        string again = feed.NewFolder();
        feed.Pack(again);
        Assert.Equal(File.ReadAllBytes(feed.PackagePath), File.ReadAllBytes(Path.Combine(again, Path.GetFileName(feed.PackagePath))));
    }

    [Fact]
    public void PackageHoldsNoPathOfTheMachineThatBuiltIt()
    {
        byte[] root = Encoding.UTF8.GetBytes(Repository.Root);
        using ZipArchive package = ZipFile.OpenRead(feed.PackagePath);
        foreach (ZipArchiveEntry entry in package.Entries)
        {
            using Stream stream = entry.Open();
            using var memory = new MemoryStream();
            stream.CopyTo(memory);
            Assert.True(memory.ToArray().AsSpan().IndexOf(root) < 0, $"{entry.FullName} holds {Repository.Root}");
        }
    }

    // The parts that the package format itself adds.
    private static bool IsContent(string path) => !path.StartsWith("_rels/", StringComparison.Ordinal) && !path.StartsWith("package/", StringComparison.Ordinal) && path != "[Content_Types].xml";
}
