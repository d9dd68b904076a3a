using System.Reflection;
using System.Runtime.CompilerServices;
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

    /// <summary>On a thread of its own, an exception would be the end of the program: whoever calls what cannot be compiled is told then.</summary>
    [Fact]
    public void WhatCannotBeCompiledIsLeftToThoseWhoCallIt()
    {
        Assert.Equal(1, KernelPreparation.Prepare(new Kernels([typeof(Sound.Kernels<>)])));
        Assert.Equal(1, KernelPreparation.Prepare(new Kernels([typeof(Sound.Kernels<>), typeof(Unsound.Kernels<>)])));
        Assert.Equal(0, KernelPreparation.Prepare(new Kernels([typeof(Unsound.Kernels<>), typeof(Sound.Kernels<>)])));
        Assert.Equal(0, KernelPreparation.Prepare(new Kernels(null)));
    }

    private static class Sound
    {
        public static class Kernels<V>
        {
            [MethodImpl(MethodImplOptions.AggressiveOptimization)]
            public static int Size() => Unsafe.SizeOf<V>();
        }
    }

    private static class Unsound
    {
        // No vector is a class.
        public static class Kernels<V>
            where V : class
        {
            [MethodImpl(MethodImplOptions.AggressiveOptimization)]
            public static int Size() => Unsafe.SizeOf<V>();
        }
    }

    /// <summary>An assembly of some types; of none that can be loaded, where they are null.</summary>
    private sealed class Kernels(Type[]? types) : Assembly
    {
        public override Type[] GetTypes() => types ?? throw new ReflectionTypeLoadException([null], [new TypeLoadException()]);
    }
}
