using System;
#if !MODELGEN_COMPILER
using ModelGen.Grammars;
#endif

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen;
#endif

/// <summary>A grammar or a schema is wrong, or asks for what is not known here.</summary>
#if MODELGEN_COMPILER
internal sealed class GrammarException : FormatException
#else
public sealed class GrammarException : FormatException
#endif
{
    /// <summary>Makes the exception.</summary>
    public GrammarException()
    {
    }

    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong, and where.</param>
    public GrammarException(string message)
        : base(message)
    {
    }

    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong, and where.</param>
    /// <param name="innerException">What it comes from.</param>
    public GrammarException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    private GrammarException(int line, int column, string message)
        : base(message)
    {
        Line = line;
        Column = column;
    }

    /// <summary>The line of the grammar or of the schema that is to blame, from 1; 0 if no one place is.</summary>
    public int Line { get; }

    /// <summary>The column, from 1; 0 if no one place is to blame.</summary>
    public int Column { get; }

    /// <summary>What is wrong at a place, which the message begins with.</summary>
    internal static GrammarException At(TextPlace? place, string what)
        => place is { } at ? new GrammarException(at.Line, at.Column, FormattableString.Invariant($"Line {at.Line}, column {at.Column}: {what}")) : new GrammarException("The grammar: " + what);
}
