using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>What is compiled to machine code while weights are read.</summary>
[Collection(ToolCommand.Collection)]
public sealed class KernelPreparationTests
{
    [Fact]
    public void KernelsAreFoundAndCompiled()
    {
        using LoadedModel model = LoadedModel.Of(TestData.File("stories260K", "stories260K.bin"), TestData.File("stories260K", "tok512.bin"), null, new SessionOptions { Threads = 1 });

        // Those of a prompt and those of a token: at the least a lookup, a norm, products, attention and activations of each.
        Assert.InRange(KernelPreparation.Prepare(model.Assembly.Type.Assembly), 12, 200);
        Assert.Equal(model.Host.VocabularySize, model.Session.Decode(1).Length);
    }

    [Fact]
    public void AnAssemblyWithoutAModelHasNone() => Assert.Equal(0, KernelPreparation.Prepare(typeof(KernelPreparation).Assembly));
}
