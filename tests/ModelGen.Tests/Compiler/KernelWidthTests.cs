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
    private static readonly Lazy<string> Folder = new(() => Directory.CreateTempSubdirectory("modelgen-kernels-").FullName);

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
        => ChildProcess.RunCheck(Check, [.. environment, (GraphFunction.CacheVariable, Folder.Value)]);

    [Check]
    private static void Check()
    {
        Assert.Equal(Environment.GetEnvironmentVariable(ExpectedBits), Simd.VectorBits.ToString(CultureInfo.InvariantCulture));
        var failures = new List<string>();
        foreach (bool backward in new[] { false, true })
        {
            foreach (string name in (backward ? KernelCases.Backward : KernelCases.Forward).Keys)
            {
                // The last line says which case it was when the process is ended by a fault.
                Console.WriteLine($"{(backward ? "backward" : "forward")} {name}");
                try
                {
                    KernelCheck.Run(name, backward, BufferPlacement.Guarded);
                }
                catch (Exception e)
                {
                    failures.Add($"{(backward ? "backward" : "forward")} {name}: {e.Message}");
                }
            }
        }

        Assert.True(failures.Count == 0, string.Join('\n', failures));
    }
}
