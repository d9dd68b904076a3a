using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// One entry of a PTX module, instruction by instruction. Registers are made as values are: an instruction gets one of the kind that its
/// type suffix asks for. What every thread needs goes into a prologue, which stands before the body whenever it is asked for.
/// </summary>
internal sealed class PtxWriter
{
    private static readonly (char Kind, string Type, string Prefix)[] Kinds = [('f', ".f32", "%f"), ('r', ".b32", "%r"), ('d', ".b64", "%rd"), ('p', ".pred", "%p")];

    private readonly StringBuilder _prologue = new();
    private readonly StringBuilder _body = new();
    private readonly Dictionary<char, int> _registers = [];
    private readonly Dictionary<string, string> _loaded = [];
    private readonly List<string> _shared = [];
    private readonly List<(string Type, string Name)> _parameters = [];
    private int _labels;

    /// <summary>Where threads go that have nothing to do.</summary>
    public const string Exit = "EXIT";

    /// <summary>The names of the entry's parameters, in order.</summary>
    public IEnumerable<string> Parameters => _parameters.Select(p => p.Name);

    /// <summary>A new register: f32 (<c>f</c>), 32 bits (<c>r</c>), 64 bits (<c>d</c>) or a predicate (<c>p</c>).</summary>
    public string Register(char kind)
    {
        _registers.TryGetValue(kind, out int count);
        _registers[kind] = count + 1;
        return Kinds.First(k => k.Kind == kind).Prefix + count.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>An instruction with a result.</summary>
    public string Op(string instruction, params string[] operands)
    {
        string result = Register(KindOf(instruction));
        Set(result, instruction, operands);
        return result;
    }

    /// <summary>An instruction whose result goes into a register that there is.</summary>
    public void Set(string result, string instruction, params string[] operands) => Line($"{instruction} {string.Join(", ", operands.Prepend(result))};");

    /// <summary>An instruction of the prologue with a result, once for all that ask for it.</summary>
    public string Once(string instruction, params string[] operands)
    {
        string text = $"{instruction} {string.Join(", ", operands)}";
        if (!_loaded.TryGetValue(text, out string? result))
        {
            result = Register(KindOf(instruction));
            _prologue.Append('\t').Append(instruction).Append(' ').Append(string.Join(", ", operands.Prepend(result))).Append(";\n");
            _loaded.Add(text, result);
        }

        return result;
    }

    /// <summary>A parameter of the entry, as a register.</summary>
    public string Parameter(string type, string name)
    {
        if (!_parameters.Contains((type, name)))
        {
            _parameters.Add((type, name));
        }

        return Once("ld.param" + type, $"[{name}]");
    }

    /// <summary>A special register, such as <c>%tid.x</c>.</summary>
    public string Special(string name) => Once("mov.u32", name);

    public void Line(string text) => _body.Append('\t').Append(text).Append('\n');

    /// <summary>Memory of a block of threads, as the register of its address.</summary>
    public string Shared(string name, int words)
    {
        _shared.Add(FormattableString.Invariant($"\t.shared .align 16 .b8 {name}[{4 * words}];\n"));
        return Once("mov.u32", name);
    }

    public string Label() => FormattableString.Invariant($"L{_labels++}");

    public void Place(string label) => _body.Append(label).Append(":\n");

    /// <summary>What runs where a predicate holds, or where it does not.</summary>
    public void If(string predicate, Action body, bool negated = false)
    {
        string end = Label();
        Line($"@{(negated ? "" : "!")}{predicate} bra {end};");
        body();
        Place(end);
    }

    /// <summary>A loop of an index from a value, which stands in a register or is literal, by steps, while it is less than a limit.</summary>
    public void For(string from, string limit, string step, Action<string> body)
    {
        string index = Op("mov.u32", from), begin = Label(), end = Label();
        Place(begin);
        string done = Op("setp.ge.s32", index, limit);
        Line($"@{done} bra {end};");
        body(index);
        Set(index, "add.s32", index, step);
        Line($"bra {begin};");
        Place(end);
    }

    /// <summary>The threads of a block meet.</summary>
    public void Barrier() => Line("bar.sync 0;");

    /// <summary>A literal in single precision.</summary>
    public static string Float(double value)
        => "0f" + unchecked((uint)BitConverter.ToInt32(BitConverter.GetBytes((float)value), 0)).ToString("X8", CultureInfo.InvariantCulture);

    public static string Int(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>The whole entry.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="comment">What it computes.</param>
    /// <param name="threads">The threads of a block.</param>
    public string Entry(string name, string comment, int threads)
    {
        var text = new StringBuilder();
        text.Append("// ").Append(Printable(comment)).Append('\n');
        text.Append(".visible .entry ").Append(name).Append("(\n").Append(string.Join(",\n", _parameters.Select(p => $"\t.param {p.Type} {p.Name}"))).Append("\n)\n");
        text.Append(FormattableString.Invariant($".maxntid {threads}, 1, 1\n{{\n"));
        foreach ((char kind, string type, string prefix) in Kinds)
        {
            if (_registers.TryGetValue(kind, out int count))
            {
                text.Append(FormattableString.Invariant($"\t.reg {type} {prefix}<{count}>;\n"));
            }
        }

        text.Append(string.Concat(_shared)).Append(_prologue).Append(_body).Append(Exit).Append(":\n\tret;\n}\n");
        return text.ToString();
    }

    /// <summary>A text as a module may have it: drivers refuse bytes beyond ASCII, and a line of a comment ends with its line.</summary>
    private static string Printable(string text) => new([.. text.Select(c => c switch
    {
        '\u00B7' => '*',
        >= ' ' and <= '~' => c,
        _ => '?',
    })]);

    private static char KindOf(string instruction)
    {
        if (instruction.StartsWith("setp", StringComparison.Ordinal))
        {
            return 'p';
        }

        string[] parts = instruction.Split('.');
        string type = parts[0] == "cvt" ? parts[parts.Length - 2] : parts[parts.Length - 1];
        return type switch
        {
            "f32" => 'f',
            "pred" => 'p',
            "u64" or "s64" or "b64" => 'd',
            _ => parts.Contains("wide") ? 'd' : 'r',
        };
    }
}
