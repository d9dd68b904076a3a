using System.Globalization;

namespace ModelGen.Tool;

/// <summary>How long the sequences of a compiled model may be.</summary>
internal static class DeclaredContext
{
    /// <summary>What is compiled where nobody asks for more: published models go up to a million positions, whose caches would take the machine's memory.</summary>
    public const int Default = 4096;

    /// <summary>Declares a shorter context where positions are no table of the file's.</summary>
    public static ModelCode Limit(ModelCode code, int? context)
    {
        if (code.Arguments.FirstOrDefault(static argument => argument.Name == "Context").Value is not { } text
            || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int declared))
        {
            return code;
        }

        int wanted = context ?? Math.Min(declared, Default);
        if (wanted < 1)
        {
            throw new UsageException($"--context: expected 1 or more, found {wanted}.");
        }

        if (wanted > Longest(code, declared))
        {
            throw new UsageException($"--context: expected at most {Longest(code, declared)}, which the model was made for, found {wanted}.");
        }

        // A table of positions is a parameter: its rows are the context.
        bool isTable = code.Attribute is "Gpt" or "Bert" && !code.Arguments.Any(static argument => argument.Name == "Positions" && !argument.Value.EndsWith(".Learned", StringComparison.Ordinal));
        return isTable ? code : code.With("Context", wanted.ToString(CultureInfo.InvariantCulture));
    }

    // Positions that are stretched by what is declared go beyond what a configuration names, by their factor.
    private static long Longest(ModelCode code, int declared)
    {
        string? Of(string name) => code.Arguments.FirstOrDefault(argument => argument.Name == name).Value;
        return Of("RotaryScaling") == "RotaryScaling.Dynamic" && double.TryParse(Of("RotaryFactor"), CultureInfo.InvariantCulture, out double factor) ? (long)Math.Min(int.MaxValue, declared * Math.Max(1, factor)) : declared;
    }
}
