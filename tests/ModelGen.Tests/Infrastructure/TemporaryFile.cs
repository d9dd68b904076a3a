namespace ModelGen.Tests.Infrastructure;

/// <summary>The path of a file in a folder of its own, which is deleted in the end.</summary>
public sealed class TemporaryFile : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-test").FullName;

    public TemporaryFile(string name = "model.safetensors")
    {
        Path = System.IO.Path.Combine(_folder, name);
    }

    public string Path { get; }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
