using System.Reflection;

namespace ModelGen.Tests.Infrastructure;

public sealed class InMemoryCompilationTests
{
    [Fact]
    public void Unsafe_vector_code_compiles_and_runs()
    {
        Assembly assembly = InMemoryCompilation.Load("""
            using System.Runtime.Intrinsics;
            public static unsafe class Kernel
            {
                public static float Sum(float* p) => Vector256.Sum(Vector256.Load(p));
            }
            """);
        MethodInfo method = assembly.GetType("Kernel")!.GetMethod("Sum")!;
        unsafe
        {
            float[] values = [1, 2, 3, 4, 5, 6, 7, 8];
            fixed (float* p = values)
            {
                Assert.Equal(36f, method.Invoke(null, [Pointer.Box(p, typeof(float*))]));
            }
        }
    }

    [Fact]
    public void Error_quotes_the_source_line()
    {
        InvalidOperationException error = Assert.Throws<InvalidOperationException>(() => InMemoryCompilation.Load("class A\n{\n    int x = missing;\n}\n"));
        Assert.Contains("Emitted.cs(3,13): Error CS0103", error.Message);
        Assert.Contains("int x = missing;", error.Message);
    }
}
