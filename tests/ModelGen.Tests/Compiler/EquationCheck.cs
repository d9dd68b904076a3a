using System.Text.RegularExpressions;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>What an emitted equation owes its readers: a name for everything that the kernel reads and writes, and one name for one value.</summary>
internal static class EquationCheck
{
    private static readonly Regex LonelyOperation = new(@"\b(add|subtract|multiply|divide|matmul)\([^(),]*\)");

    private static readonly Regex Old = new(@"\(old: ([^()\[\]]+)(\[[^\]]*\])?\)");

    /// <summary>What is wrong with the equations of a plan's kernels.</summary>
    public static IEnumerable<string> Problems(CpuProgram program, DeclaredNames names)
    {
        foreach ((Kernel kernel, string? variable) in program.Program.Kernels.SelectMany(k => Flat(k, null)))
        {
            string text = KernelEquation.Of(kernel, names, "", variable);
            foreach (string problem in Problems(kernel, text, names))
            {
                yield return $"{kernel.GetType().Name} {kernel.Name}: {problem}\n  {text}";
            }
        }
    }

    private static IEnumerable<string> Problems(Kernel kernel, string text, DeclaredNames names)
    {
        string[][] equations = [.. text.Split(global::ModelGen.Compiler.Emit.CSharp.Text.Sentence).Select(e => e.Split([" += ", " = "], 2, StringSplitOptions.None))];
        bool[] adds = [.. text.Split(global::ModelGen.Compiler.Emit.CSharp.Text.Sentence).Select(e => e.Contains(" += ", StringComparison.Ordinal))];
        string read = string.Join(" ; ", equations.Select(e => e[^1])), written = string.Join(" ; ", equations.Select(e => e.Length == 2 ? e[0] : ""));
        if (equations.Any(e => e.Length != 2))
        {
            yield return "not every sentence is an equation";
            yield break;
        }

        foreach (KernelOperand operand in kernel.Operands)
        {
            string name = NameOf(operand.View.Buffer, names);
            if (!Names(operand.IsWritten ? written : read, name))
            {
                yield return $"{(operand.IsWritten ? "writes" : "reads")} {name} ({operand.Name}), which it does not name";
            }
        }

        foreach (IGrouping<string, PlanBuffer> same in kernel.Operands.Select(o => o.View.Buffer).Distinct().GroupBy(b => NameOf(b, names)).Where(g => g.Count() > 1))
        {
            yield return $"{same.Key} is what {same.Count()} buffers are called";
        }

        // What a state held before is said to be that where the kernel overwrites it, and nowhere else.
        var overwritten = new HashSet<string>(kernel.Operands.Where(o => o.View.Buffer.Space == MemorySpace.State).GroupBy(o => NameOf(o.View.Buffer, names)).Where(g => g.Any(o => o.IsWritten) && g.Any(o => !o.IsWritten)).Select(g => g.Key));
        var old = new HashSet<string>(Old.Matches(text).Select(m => m.Groups[1].Value));
        if (!old.SetEquals(overwritten))
        {
            yield return $"{string.Join(", ", old)} is said to be what was there before, of {string.Join(", ", overwritten)}";
        }

        foreach (KernelOperand operand in kernel.Derivation.Terms.SelectMany(t => t.Inputs).Where(i => i.Operand >= 0).Select(i => kernel.Operands[i.Operand]).Where(o => o.IsWritten && overwritten.Contains(NameOf(o.View.Buffer, names))))
        {
            if (!Names(Old.Replace(read, ""), NameOf(operand.View.Buffer, names)))
            {
                yield return $"what {NameOf(operand.View.Buffer, names)} is overwritten with is read, and said to be what was there before";
            }
        }

        // A value is what one equation says, and stands in no equation before that one; what is added to is read and written.
        var known = new HashSet<string>();
        for (int i = 0; i < equations.Length; i++)
        {
            foreach (string result in Results(equations[i][0]))
            {
                if (adds[i])
                {
                    continue;
                }

                if (!known.Add(result))
                {
                    yield return $"{result} is computed twice";
                }

                if (equations.Take(i + 1).Any(e => Names(Old.Replace(e[1], ""), result, wholly: true)))
                {
                    yield return $"{result} is read before it is computed, as another value";
                }
            }
        }

        if (LonelyOperation.Match(text) is { Success: true } lonely)
        {
            yield return $"{lonely.Value} has one operand of two";
        }
    }

    // "a[.., 0..8], d b" are two names.
    private static IEnumerable<string> Results(string text) => Regex.Split(text, @", (?![^\[]*\])");

    private static bool Names(string text, string name, bool wholly = false)
        => Regex.IsMatch(text, $@"(?<![A-Za-z0-9_.]|\bd ){Regex.Escape(name)}(?![A-Za-z0-9_'(]|\.[A-Za-z0-9_]{(wholly ? @"|\[" : "")})");

    private static string NameOf(PlanBuffer buffer, DeclaredNames names) => names.Short((buffer.Space == MemorySpace.Gradients ? "d " : "") + buffer.Name, "");

    private static IEnumerable<(Kernel Kernel, string? Variable)> Flat(Kernel kernel, string? variable)
        => kernel is LoopKernel loop ? loop.Body.SelectMany(k => Flat(k, loop.BlockRows > 0 ? "block" : "t")) : [(kernel, variable)];
}
