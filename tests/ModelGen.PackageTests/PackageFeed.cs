using System.Globalization;

namespace ModelGen.PackageTests;

/// <summary>Packs the repository once into a folder feed, from which fresh projects outside the tree install it.</summary>
public sealed class PackageFeed : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string? _machinePackages;
    private int _projects;

    public PackageFeed()
    {
        // A version nobody has installed before: NuGet never unpacks the same version twice.
        Version = string.Create(CultureInfo.InvariantCulture, $"0.1.0-test.{DateTime.UtcNow:yyyyMMddHHmmss}");
        Folder = _folder.Combine("feed");
        Pack(Folder);
        PackagePath = Path.Combine(Folder, $"ModelGen.{Version}.nupkg");

        string listing = Command.Dotnet(_folder.Path, "nuget", "locals", "global-packages", "--list").Succeeded().Output;
        string path = listing[(listing.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim();
        _machinePackages = Directory.Exists(path) ? path : null;
    }

    public string Version { get; }

    public string Folder { get; }

    public string PackagePath { get; }

    public void Dispose() => _folder.Dispose();

    /// <summary>Packs as <c>dotnet pack -c Release</c> does, into <paramref name="folder"/>.</summary>
    internal void Pack(string folder, string project = "ModelGen.Runtime")
        => Command.Dotnet(
            Repository.Root, "pack", Path.Combine("src", project), "-c", "Release", "-o", folder, $"-p:PackageVersion={Version}").Succeeded();

    internal string NewFolder() => Directory.CreateDirectory(_folder.Combine(string.Create(CultureInfo.InvariantCulture, $"folder{Interlocked.Increment(ref _projects)}"))).FullName;

    /// <summary>
    /// Writes a console project that installs the package, as a user would have it: no build file of the repository above it, the local feed besides
    /// the machine's own sources, and a package folder of its own that the test takes away again.
    /// </summary>
    internal string NewProject(string name, string properties, string program = "Consumer")
    {
        string folder = NewFolder();
        string fallback = _machinePackages is null ? "" : $"""<fallbackPackageFolders><add key="machine" value="{_machinePackages}" /></fallbackPackageFolders>""";
        File.WriteAllText(Path.Combine(folder, "nuget.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{_folder.Combine("packages")}" /></config>
              {fallback}
              <packageSources><add key="local" value="{Folder}" /></packageSources>
            </configuration>
            """);
        File.WriteAllText(Path.Combine(folder, "Directory.Build.props"), "<Project />");
        File.WriteAllText(Path.Combine(folder, "Directory.Build.targets"), "<Project />");
        File.WriteAllText(Path.Combine(folder, "Directory.Packages.props"), "<Project />");
        File.WriteAllText(Path.Combine(folder, $"{name}.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <Nullable>enable</Nullable>
                <ImplicitUsings>enable</ImplicitUsings>
                <InvariantGlobalization>true</InvariantGlobalization>
                {properties}
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="ModelGen" Version="{Version}" />
              </ItemGroup>
            </Project>
            """);
        File.Copy(Path.Combine(AppContext.BaseDirectory, program, "Program.cs"), Path.Combine(folder, "Program.cs"));
        return folder;
    }
}

/// <summary>One feed for all classes, whose tests then run one after the other: each of them keeps the machine busy by itself.</summary>
[CollectionDefinition(Name)]
public sealed class PackageCollection : ICollectionFixture<PackageFeed>
{
    public const string Name = "package";
}
