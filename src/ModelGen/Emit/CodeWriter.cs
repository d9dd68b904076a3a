using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace ModelGen.Compiler.Emit;

/// <summary>Indented text with LF line ends, whatever the machine.</summary>
internal sealed class CodeWriter
{
    private readonly StringBuilder _text = new();
    private readonly Stack<string> _ends = new();

    public CodeWriter Line(string text = "")
    {
        if (text.Length > 0)
        {
            _text.Append(' ', 4 * _ends.Count).Append(text);
        }

        _text.Append('\n');
        return this;
    }

    /// <summary>Appends several lines, each at the current indentation.</summary>
    public CodeWriter Lines(string text)
    {
        foreach (string line in text.Replace("\r\n", "\n").Split('\n'))
        {
            Line(line);
        }

        return this;
    }

    public CodeWriter Open(string header) => Open(header, "{", "}");

    /// <summary>
    /// Opens a method whose arithmetic, that of its pointers too, means the same and costs the same in a project that checks
    /// for overflow.
    /// </summary>
    public CodeWriter OpenMethod(string header) => Open(header, "{ unchecked {", "}}");

    public CodeWriter Close(string suffix = "")
    {
        string end = _ends.Pop();
        return Line(end + suffix);
    }

    private CodeWriter Open(string header, string start, string end)
    {
        Line(header).Line(start);
        _ends.Push(end);
        return this;
    }

    public override string ToString() => _text.ToString();

    public static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>A single-precision literal that reads back as the same number.</summary>
    public static string Literal(double value)
    {
        float single = (float)value;
        if (float.IsNaN(single))
        {
            return "float.NaN";
        }

        if (float.IsInfinity(single))
        {
            return single > 0 ? "float.PositiveInfinity" : "float.NegativeInfinity";
        }

        return single.ToString("R", CultureInfo.InvariantCulture).Replace("E+", "e").Replace('E', 'e') + "f";
    }
}
