using System.Text.RegularExpressions;

namespace ModelGen.ArmTests;

/// <summary>The machine code of the register tiles, where nearly all of a model's time goes.</summary>
[Collection(ArmTestGroup.Name)]
public sealed partial class TileTests(ArmFixture fixture)
{
    [ArmFact]
    public void Inner_loops_multiply_and_add_in_vectors_and_keep_their_accumulators_in_registers()
    {
        MachineMethod[] tiles = [.. fixture.Program.Disassemble().Where(method => TileSymbol().IsMatch(method.Symbol))];
        Assert.Contains(tiles, tile => tile.Symbol.Contains("RunByElement", StringComparison.Ordinal));
        Assert.Contains(tiles, tile => !tile.Symbol.Contains("RunByElement", StringComparison.Ordinal));
        foreach (MachineMethod tile in tiles)
        {
            Instruction[][] loops = [.. tile.InnermostLoops().Where(loop => loop.Any(IsVectorMultiplyAdd))];
            Assert.True(loops.Length > 0, $"{tile.Name} has no loop with fmla on vectors of four floats:\n{string.Join('\n', tile.Instructions)}");
            foreach (Instruction[] loop in loops)
            {
                Assert.False(loop.Any(IsVectorOnStack), $"A vector is spilled in the loop of {Text(tile, loop)}");
            }

            if (tile.Symbol.Contains("RunByElement", StringComparison.Ordinal))
            {
                // Others may do what is left of a contraction.
                Instruction[] hottest = loops.MaxBy(loop => loop.Count(IsVectorMultiplyAdd))!;
                Assert.True(hottest.Where(IsVectorMultiplyAdd).All(i => i.Operands.Contains(".s[", StringComparison.Ordinal)), $"fmla is not by element in the loop of {Text(tile, hottest)}");
                Assert.False(hottest.Any(i => i.Name == "dup"), $"An element is broadcast in the loop of {Text(tile, hottest)}");
            }
        }

        // With fewer sums at once than this, each would wait for the one before.
        Assert.Contains(tiles, tile => tile.InnermostLoops().Any(loop => Accumulators(loop) >= 12));
    }

    [ArmFact]
    public void Products_of_quantized_weights_multiply_bytes()
    {
        MachineMethod[] products = [.. fixture.Program.Disassemble().Where(method => BlockSymbol().IsMatch(method.Symbol))];
        MachineMethod[] kernels = [.. products.Where(product => product.InnermostLoops().Any(loop => loop.Any(IsByteProduct)))];
        Assert.True(kernels.Length > 20, $"There are {kernels.Length} products of quantized weights.");
        foreach (MachineMethod kernel in kernels)
        {
            // The processor is not asked within a row.
            string[] ways = [.. kernel.Instructions.Where(IsByteProduct).Select(i => i.Name).Distinct()];
            Assert.True(ways.Length == 1, $"{kernel.Symbol} multiplies bytes by {string.Join(" and ", ways)}.");
        }

        Assert.Contains(kernels, kernel => kernel.Instructions.Any(i => i.Name == "sdot"));
        Assert.Contains(kernels, kernel => kernel.Instructions.Any(i => i.Name == "smull"));
    }

    private static string Text(MachineMethod tile, Instruction[] loop) => $"{tile.Name}:\n{string.Join('\n', loop)}";

    /// <summary>The registers that a loop sums in.</summary>
    private static int Accumulators(Instruction[] loop) => loop.Where(IsVectorMultiplyAdd).Select(i => i.Operands.Split(',')[0]).Distinct().Count();

    private static bool IsVectorMultiplyAdd(Instruction instruction) => instruction.Name == "fmla" && instruction.Operands.Contains(".4s", StringComparison.Ordinal);

    private static bool IsByteProduct(Instruction instruction) => instruction.Name is "sdot" or "smull" && instruction.Operands.Contains('b', StringComparison.Ordinal);

    private static bool IsVectorOnStack(Instruction instruction) => VectorOnStack().IsMatch(instruction.ToString());

    [GeneratedRegex(@"^(ldr|ldur|ldp|str|stur|stp) q.*\[(sp|x29)\b")]
    private static partial Regex VectorOnStack();

    [GeneratedRegex(@"BlockTile__(Row128|UnpackedRow128)")]
    private static partial Regex BlockSymbol();

    [GeneratedRegex(@"RegisterTile__Run")]
    private static partial Regex TileSymbol();
}
