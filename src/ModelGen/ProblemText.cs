using System;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace ModelGen.Compiler;

/// <summary>
/// What is wrong where a condition does not hold: an interpolated string that is put together only then. Verifiers check thousands of
/// conditions that hold, and their messages would cost more than the checks.
/// </summary>
[InterpolatedStringHandler]
internal readonly struct ProblemText
{
    private readonly StringBuilder? _text;

    public ProblemText(int literalLength, int formattedCount, bool condition, out bool isWanted)
    {
        isWanted = !condition;
        _text = condition ? null : new StringBuilder(literalLength + (16 * formattedCount));
    }

    public void AppendLiteral(string text) => _text!.Append(text);

    public void AppendFormatted<T>(T value)
        => _text!.Append(value is IFormattable formattable ? formattable.ToString(null, CultureInfo.InvariantCulture) : value?.ToString());

    public override string ToString() => _text?.ToString() ?? "";
}
