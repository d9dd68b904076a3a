using System;
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace ModelGen.Compiler.Emit;

/// <summary>Indented text with LF line ends, whatever the machine.</summary>
internal sealed class CodeWriter
{
    // Lines are long, and their nests deep: with four spaces a level, every ninth character of a model's text would be one of them.
    private const int IndentWidth = 2;

    private static readonly string[] Statements = ["for (", "while (", "if (", "else"];

    private readonly StringBuilder _text = new();
    private readonly Stack<Block> _blocks = new();
    private int _lines;

    public CodeWriter Line(string text = "")
    {
        if (text.Length > 0)
        {
            _text.Append(' ', IndentWidth * _blocks.Count).Append(text);
        }

        _text.Append('\n');
        _lines++;
        return this;
    }

    /// <summary>An empty line, but where something begins or one is there already.</summary>
    public CodeWriter Gap()
    {
        bool begins = _text.Length == 0 || (_blocks.Count > 0 && _blocks.Peek().FirstLine == _lines);
        return begins || (_text.Length > 1 && _text[_text.Length - 1] == '\n' && _text[_text.Length - 2] == '\n') ? this : Line();
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

    /// <summary>Opens a block; the body of a loop or of a condition has no braces if it turns out to be one line.</summary>
    public CodeWriter Open(string header) => Open(header, "{", "}");

    /// <summary>
    /// Opens a method whose arithmetic, that of its pointers too, means the same and costs the same in a project that checks
    /// for overflow.
    /// </summary>
    public CodeWriter OpenMethod(string header) => Open(header, "{ unchecked {", "}}");

    public CodeWriter Close(string suffix = "")
    {
        Block block = _blocks.Pop();
        if (block.IsBody && _lines == block.FirstLine + 1 && !IsComment(block.First))
        {
            _text.Remove(block.Brace, block.First - block.Brace);
            _lines--;
            return this;
        }

        return Line(block.End + suffix);
    }

    private CodeWriter Open(string header, string start, string end)
    {
        Line(header);
        int brace = _text.Length;
        Line(start);
        _blocks.Push(new Block(end, Array.Exists(Statements, s => header.StartsWith(s, StringComparison.Ordinal)), brace, _text.Length, _lines));
        return this;
    }

    private bool IsComment(int line)
    {
        while (_text[line] == ' ')
        {
            line++;
        }

        return _text[line] == '/';
    }

    /// <summary>What is open: its end, whether it is the body of a statement, and where its brace and its first line begin.</summary>
    private readonly record struct Block(string End, bool IsBody, int Brace, int First, int FirstLine);

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
