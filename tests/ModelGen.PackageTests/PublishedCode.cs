using System.Globalization;
using System.Text.RegularExpressions;

namespace ModelGen.PackageTests;

/// <summary>The machine code of a published program, as binutils shows it.</summary>
internal static partial class PublishedCode
{
    /// <summary>
    /// The kernels' loops over memory that call an operation on vectors, where it should be an instruction: the compiler's budget for
    /// inlining ended in them. Of the widest kind that is published for; null where there are no tools to look with.
    /// </summary>
    public static string[]? CallsInProducts(string folder, string program)
    {
        if (!OperatingSystem.IsLinux() || Find("nm") is not { } nm || Find("objdump") is not { } objdump)
        {
            return null;
        }

        (ulong Address, string Name)[] symbols = [.. Command.Run(folder, nm, ["--defined-only", program + ".dbg"]).Succeeded().Lines
            .Select(line => line.Split(' ', 3))
            .Where(parts => parts.Length == 3 && parts[1] is "t" or "T")
            .Select(parts => (ulong.Parse(parts[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture), parts[2]))
            .OrderBy(symbol => symbol.Item1)];
        HashSet<ulong> operations = [.. symbols.Where(s => s.Name.Contains("Runtime_F256__", StringComparison.Ordinal)).Select(s => s.Address)];
        var calls = new List<string>();
        int products = 0;
        for (int i = 0; i + 1 < symbols.Length; i++)
        {
            if (!ProductSymbol().IsMatch(symbols[i].Name))
            {
                continue;
            }

            products++;
            CommandResult code = Command.Run(folder, objdump,
                ["-d", "--no-show-raw-insn", $"--start-address=0x{symbols[i].Address:x}", $"--stop-address=0x{symbols[i + 1].Address:x}", program]).Succeeded();
            calls.AddRange(code.Lines.Select(line => Call().Match(line))
                .Where(match => match.Success && operations.Contains(ulong.Parse(match.Groups[1].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture)))
                .Select(match => $"{symbols[i].Name}: {match.Value}"));
        }

        Assert.InRange(products, 2, int.MaxValue);
        return [.. calls];
    }

    private static string? Find(string tool)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, tool)).FirstOrDefault(File.Exists);

    [GeneratedRegex(@"(Kernels_1<\w*F256>__(Four)?Dots\w*|RegisterTile__Run<\w*F256__\w*>)$")]
    private static partial Regex ProductSymbol();

    [GeneratedRegex(@"call\s+([0-9a-f]+)")]
    private static partial Regex Call();
}
