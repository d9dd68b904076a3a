using System.Collections.Concurrent;
using System.Globalization;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Emitted code on every path that it has, in processes of their own: the vector widths, and what the processor may be missing.
/// Every buffer ends at a page that may not be touched, so that one element too far ends the process.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class KernelWidthTests
{
    private const string ExpectedBits = "MODELGEN_TEST_EXPECTED_BITS";

    [Theory]
    [InlineData("128")]
    [InlineData("256")]
    [InlineData("512")]
    public void Emitted_code_is_right_at_every_vector_width(string bits)
        => Run(("MODELGEN_VECTOR_BITS", bits), (ExpectedBits, bits));

    [Fact]
    public void Emitted_code_is_right_without_AVX2() => Run(("DOTNET_EnableAVX2", "0"), (ExpectedBits, "128"));

    [Fact]
    public void Emitted_code_is_right_without_vector_instructions() => Run(("DOTNET_EnableHWIntrinsic", "0"), (ExpectedBits, "128"));

    private static void Run(params (string Name, string Value)[] environment)
        // Kernels are compiled once for all, and for KernelTests; code that learns how it runs would only take longer.
        => ChildProcess.RunCheck(Check, [.. environment, (GraphFunction.FolderVariable, GraphFunction.Folder), ("DOTNET_TieredPGO", "0")]);

    [Check]
    private static void Check()
    {
        Assert.Equal(Environment.GetEnvironmentVariable(ExpectedBits), Simd.VectorBits.ToString(CultureInfo.InvariantCulture));
        var failures = new ConcurrentQueue<string>();
        (string Name, bool Backward)[] cases = [.. KernelCases.Forward.Keys.Select(name => (name, false)), .. KernelCases.Backward.Keys.Select(name => (name, true))];
        // Each thread begins at a share of its own: cases are compiled many together, so that neighbours wait for the same compilation.
        Parallel.ForEach(
            cases,
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            c =>
            {
                // When the process is ended by a fault, the cases that have begun and not ended are among the last lines.
                string title = $"{(c.Backward ? "backward" : "forward")} {c.Name}";
                Console.WriteLine("begins: " + title);
                try
                {
                    KernelCheck.Run(c.Name, c.Backward, BufferPlacement.Guarded);
                }
                catch (Exception e)
                {
                    failures.Enqueue($"{title}: {e.Message}");
                }

                Console.WriteLine("ends: " + title);
            });

        Assert.True(failures.IsEmpty, string.Join('\n', failures));
    }
}
