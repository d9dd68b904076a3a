using System.Globalization;
using System.Text.RegularExpressions;

namespace ModelGen.ArmTests;

/// <summary>One instruction of a disassembly.</summary>
internal readonly record struct Instruction(long Address, string Name, string Operands)
{
    public override string ToString() => $"{Name} {Operands}";
}

/// <summary>A method in a disassembly.</summary>
internal sealed partial class MachineMethod
{
    private MachineMethod(string symbol, IReadOnlyList<Instruction> instructions)
    {
        Symbol = symbol;
        Instructions = instructions;
    }

    /// <summary>The method's name in the object file: assembly, namespaces, type and, behind two underscores, the method.</summary>
    public string Symbol { get; }

    public string Name => Symbol[(Symbol.LastIndexOf("__", StringComparison.Ordinal) + 2)..];

    public IReadOnlyList<Instruction> Instructions { get; }

    /// <summary>Reads what <c>objdump -d --no-show-raw-insn</c> prints.</summary>
    public static IReadOnlyList<MachineMethod> Parse(string text)
    {
        List<MachineMethod> methods = [];
        List<Instruction> instructions = [];
        foreach (string line in text.Split('\n'))
        {
            if (Header().Match(line) is { Success: true } header)
            {
                instructions = [];
                methods.Add(new MachineMethod(header.Groups["symbol"].Value, instructions));
            }
            else if (Line().Match(line) is { Success: true } match)
            {
                instructions.Add(new Instruction(Hexadecimal(match.Groups["address"].Value), match.Groups["name"].Value, match.Groups["operands"].Value.Trim()));
            }
        }

        return methods;
    }

    /// <summary>The loops that have no loop in them: from the target of a branch backwards to that branch.</summary>
    public IReadOnlyList<Instruction[]> InnermostLoops()
    {
        List<(int First, int Last)> loops = [];
        for (int i = 0; i < Instructions.Count; i++)
        {
            if (Branch().IsMatch(Instructions[i].Name) && Target().Match(Instructions[i].Operands) is { Success: true } target)
            {
                long address = Hexadecimal(target.Groups["address"].Value);
                if (address >= Instructions[0].Address && address <= Instructions[i].Address)
                {
                    loops.Add((Instructions.TakeWhile(instruction => instruction.Address < address).Count(), i));
                }
            }
        }

        return
        [
            .. loops
                .Where(loop => !loops.Any(other => other != loop && other.First >= loop.First && other.Last <= loop.Last))
                .Select(loop => Instructions.Skip(loop.First).Take(loop.Last - loop.First + 1).ToArray()),
        ];
    }

    private static long Hexadecimal(string text) => long.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^[0-9a-f]+ <(?<symbol>.+)>:$")]
    private static partial Regex Header();

    [GeneratedRegex(@"^\s*(?<address>[0-9a-f]+):\s+(?<name>\S+)(?<operands>.*)$")]
    private static partial Regex Line();

    [GeneratedRegex(@"^(b|b\..*|cbn?z|tbn?z)$")]
    private static partial Regex Branch();

    [GeneratedRegex(@"(^|[ ,])(?<address>[0-9a-f]+) <")]
    private static partial Regex Target();
}
