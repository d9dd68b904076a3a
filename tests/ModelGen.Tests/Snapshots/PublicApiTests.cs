using ModelGen.Compiler;
using ModelGen.Tests.Infrastructure;
using PublicApiGenerator;

namespace ModelGen.Tests.Snapshots;

/// <summary>A change of what others can call is seen in a review, since it changes a committed file.</summary>
public sealed class PublicApiTests
{
    private static readonly ApiGeneratorOptions s_options = new() { IncludeAssemblyAttributes = false };

    [Fact]
    public void Runtime() => Snapshot.Verify(typeof(GptAttribute).Assembly.GeneratePublicApi(s_options));

    [Fact]
    public void Generator() => Snapshot.Verify(typeof(ModelCompiler).Assembly.GeneratePublicApi(s_options));
}
