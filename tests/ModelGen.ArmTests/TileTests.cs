using System.Text.RegularExpressions;

namespace ModelGen.ArmTests;

/// <summary>The machine code of the register tiles, where nearly all of a model's time goes.</summary>
[Collection(ArmTestGroup.Name)]
public sealed partial class TileTests(ArmFixture fixture)
{
    private const string ByElement = "FusedMultiplyAddBySelectedScalar";

    [ArmFact]
    public void Inner_loops_multiply_and_add_in_vectors_and_keep_their_accumulators_in_registers()
    {
        HashSet<string> byElement = [.. EmittedMethod().Matches(fixture.Assembly.EmittedText).Where(match => match.Value.Contains(ByElement, StringComparison.Ordinal)).Select(match => match.Groups["name"].Value)];
        MachineMethod[] tiles = [.. fixture.Program.Disassemble().Where(method => method.Symbol.Contains("_Kernels__Tile", StringComparison.Ordinal))];
        Assert.NotEmpty(tiles);
        foreach (MachineMethod tile in tiles)
        {
            Instruction[][] hot = [.. tile.InnermostLoops().Where(loop => loop.Any(IsVectorMultiplyAdd))];
            Assert.True(hot.Length > 0, $"{tile.Name} has no loop with fmla on vectors of four floats:\n{string.Join('\n', tile.Instructions)}");
            foreach (Instruction[] loop in hot)
            {
                string text = $"{tile.Name}:\n{string.Join('\n', loop)}";
                Assert.False(loop.Any(IsStackAccess), $"A vector is spilled in the loop of {text}");
                if (byElement.Contains(tile.Name))
                {
                    Assert.True(loop.Where(IsVectorMultiplyAdd).All(i => i.Operands.Contains(".s[", StringComparison.Ordinal)), $"fmla is not by element in the loop of {text}");
                    Assert.False(loop.Any(i => i.Name == "dup"), $"An element is broadcast in the loop of {text}");
                }
            }
        }
    }

    private static bool IsVectorMultiplyAdd(Instruction instruction) => instruction.Name == "fmla" && instruction.Operands.Contains(".4s", StringComparison.Ordinal);

    private static bool IsStackAccess(Instruction instruction) => StackAccess().IsMatch(instruction.ToString());

    [GeneratedRegex(@"^(ldr|ldur|ldp|str|stur|stp) q.*\[(sp|x29)\b")]
    private static partial Regex StackAccess();

    [GeneratedRegex(@"static void (?<name>Tile\w+)\(.*?\n    \}", RegexOptions.Singleline)]
    private static partial Regex EmittedMethod();
}
