using ModelGen.Compiler;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Snapshots;

/// <summary>A change of what others can call is seen in a review, since it changes a committed file.</summary>
public sealed class PublicApiTests
{
    [Fact]
    public void Runtime() => Snapshot.Verify(PublicApi.Describe(typeof(GptAttribute).Assembly));

    [Fact]
    public void Generator() => Snapshot.Verify(PublicApi.Describe(typeof(ModelCompiler).Assembly));
}
