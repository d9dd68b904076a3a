using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// One entry of a PTX module, instruction by instruction. Registers are made as values are: an instruction gets one of the kind that its
/// type suffix asks for. What every thread needs goes into a prologue, which stands before the body whenever it is asked for.
/// </summary>
internal sealed class PtxWriter
{
    private static readonly (char Kind, string Type, string Prefix)[] Kinds = [('f', ".f32", "%f"), ('r', ".b32", "%r"), ('d', ".b64", "%rd"), ('p', ".pred", "%p"), ('h', ".b16", "%h")];

    private readonly StringBuilder _prologue = new();
    private readonly StringBuilder _ahead = new();
    private readonly StringBuilder _body = new();
    private readonly Dictionary<char, int> _registers = [];
    private readonly Dictionary<string, string> _loaded = [];
    private readonly List<(string Name, int Bytes)> _shared = [];
    private readonly List<(string Type, string Name)> _parameters = [];
    private int _labels;

    /// <summary>Where threads go that have nothing to do.</summary>
    public const string Exit = "EXIT";

    /// <summary>The parameters of a function that say which of the kernel's blocks it is called for.</summary>
    public const string BlockX = "block_x";

    /// <inheritdoc cref="BlockX"/>
    public const string BlockY = "block_y";

    // Where memory that threads share begins.
    private const int Alignment = 16;

    /// <summary>The names of the entry's parameters, in order.</summary>
    public IEnumerable<string> Parameters => _parameters.Select(p => p.Name);

    /// <summary>A new register: f32 (<c>f</c>), 32 bits (<c>r</c>), 64 bits (<c>d</c>) a predicate (<c>p</c>) or 16 bits (<c>h</c>).</summary>
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

    /// <summary>A line between the prologue and the body.</summary>
    public void Ahead(string text) => _ahead.Append('\t').Append(text).Append('\n');

    /// <summary>Memory of a block of threads, as the register of its address.</summary>
    public string Shared(string name, int words)
    {
        _shared.Add((name, 4 * words));
        return Once("mov.u32", name);
    }

    /// <summary>Memory of a block of threads whose size the launch says, as the register of its address: at a multiple of 16 bytes.</summary>
    public string Dynamic(int bytes)
    {
        DynamicBytes = bytes;
        return Once("mov.u32", DynamicMemory);
    }

    /// <summary>The name of a module's memory whose size launches say.</summary>
    public const string DynamicMemory = "asked";

    /// <summary>The declaration of it.</summary>
    public static string DynamicDeclaration => FormattableString.Invariant($".extern .shared .align {Alignment} .b8 {DynamicMemory}[];\n");

    /// <summary>Bytes of memory that a launch asks for.</summary>
    public int DynamicBytes { get; private set; }

    /// <summary>Bytes of memory that a block of threads has.</summary>
    public int SharedBytes => _shared.Sum(s => (s.Bytes + Alignment - 1) / Alignment * Alignment);

    /// <summary>A line of its own that says what follows.</summary>
    public void Remark(string text) => _body.Append("\n\t// ").Append(Printable(text)).Append('\n');

    /// <summary>All threads call a function.</summary>
    /// <param name="function">Its name.</param>
    /// <param name="arguments">What it is given: of each the type and the register or the literal.</param>
    public void Call(string function, IReadOnlyList<(string Type, string Value)> arguments)
    {
        Line("{");
        for (int i = 0; i < arguments.Count; i++)
        {
            Line(FormattableString.Invariant($".param .{arguments[i].Type} q{i};"));
            Line(FormattableString.Invariant($"st.param.{arguments[i].Type} [q{i}], {arguments[i].Value};"));
        }

        Line($"call.uni {function}, ({string.Join(", ", Enumerable.Range(0, arguments.Count).Select(i => FormattableString.Invariant($"q{i}")))});");
        Line("}");
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
    /// <param name="width">The blocks in a row of its grid where all of them are numbered along the first dimension; otherwise 0.</param>
    /// <param name="blocksOfProcessor">The blocks that a processor's registers must have room for; 0 where nothing is asked.</param>
    public string Entry(string name, string comment, int threads, int width = 0, int blocksOfProcessor = 0)
    {
        string code = _prologue.ToString() + _ahead + _body;
        if (width > 0)
        {
            code = Regex.Replace(code, @"\tmov\.u32 (%r\d+), %ctaid\.([xy]);\n", block => FormattableString.Invariant($"\tmov.u32 {block.Groups[1].Value}, %ctaid.x;\n\t{(block.Groups[2].Value == "x" ? "rem" : "div")}.s32 {block.Groups[1].Value}, {block.Groups[1].Value}, {width};\n"));
        }

        string shared = string.Concat(_shared.Select(s => FormattableString.Invariant($"\t.shared .align {Alignment} .b8 {s.Name}[{s.Bytes}];\n")));
        return Text(".visible .entry ", name, comment, _parameters, FormattableString.Invariant($".maxntid {threads}, 1, 1\n{(blocksOfProcessor == 0 ? "" : FormattableString.Invariant($".minnctapersm {blocksOfProcessor}\n"))}"), shared + code);
    }

    /// <summary>The same as a function, which is told in the place of the grid's dimensions which block it is called for, and whose memory is a part of a block's.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="comment">What it computes.</param>
    /// <param name="scratch">The memory's name.</param>
    /// <param name="parameters">Its parameters' names, in order.</param>
    public string Function(string name, string comment, string scratch, out IReadOnlyList<string> parameters)
    {
        List<(string Type, string Name)> all = [.. _parameters];
        string code = _prologue.ToString() + _ahead + _body;
        foreach ((string register, string parameter) in new[] { ("%ctaid.x", BlockX), ("%ctaid.y", BlockY) })
        {
            if (code.Contains(register))
            {
                all.Add((".u32", parameter));
                code = Regex.Replace(code, @"mov\.u32 (%r\d+), " + register + ";", $"ld.param.u32 $1, [{parameter}];");
            }
        }

        int offset = 0;
        foreach ((string own, int bytes) in _shared)
        {
            code = Regex.Replace(code, @"mov\.u32 (%r\d+), " + own + ";", FormattableString.Invariant($"mov.u32 $1, {scratch}{(offset == 0 ? "" : FormattableString.Invariant($"+{offset}"))};"));
            offset += (bytes + Alignment - 1) / Alignment * Alignment;
        }

        parameters = [.. all.Select(p => p.Name)];
        return Text(".func ", name, comment, all, "", code);
    }

    private string Text(string declaration, string name, string comment, IEnumerable<(string Type, string Name)> parameters, string directives, string code)
    {
        var text = new StringBuilder();
        text.Append("// ").Append(Printable(comment)).Append('\n');
        text.Append(declaration).Append(name).Append("(\n").Append(string.Join(",\n", parameters.Select(p => $"\t.param {p.Type} {p.Name}"))).Append("\n)\n");
        text.Append(directives).Append("{\n");
        foreach ((char kind, string type, string prefix) in Kinds)
        {
            if (_registers.TryGetValue(kind, out int count))
            {
                text.Append(FormattableString.Invariant($"\t.reg {type} {prefix}<{count}>;\n"));
            }
        }

        text.Append(code).Append(Exit).Append(":\n\tret;\n}\n");
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
            "f16" or "bf16" or "b16" => 'h',
            _ => parts.Contains("wide") ? 'd' : 'r',
        };
    }
}
