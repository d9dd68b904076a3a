using System.Diagnostics.CodeAnalysis;

namespace ModelGen.Runtime;

/// <summary>Checks that sessions and trainers share.</summary>
internal static class RunChecks
{
    /// <summary>For tests of teams that are larger than the machine: threads beyond the processors, if the options ask for them.</summary>
    private static readonly bool s_beyondProcessors = AppContext.TryGetSwitch("ModelGen.ThreadsBeyondProcessors", out bool enabled) && enabled;

    /// <summary>The number of threads to use: none beyond the processors, where they could only wait for each other.</summary>
    public static int Threads(int asked, string optionsName)
    {
        if (asked is < 0 or > 1024)
        {
            throw new ArgumentOutOfRangeException(optionsName, asked, "Threads must be from 0 (one per processor) to 1024.");
        }

        return Threads(asked, Environment.ProcessorCount, s_beyondProcessors);
    }

    internal static int Threads(int asked, int processors, bool beyondProcessors)
    {
        int most = beyondProcessors ? 1024 : Math.Min(processors, 1024);
        return Math.Min(asked == 0 ? processors : asked, most);
    }

    /// <summary>The number of sequences that a session is to hold.</summary>
    public static int Batch(int asked, ProgramLayout layout, string optionsName)
    {
        if (asked < 1 || asked > layout.MaximumBatch)
        {
            string most = layout.MaximumBatch == 1 ? "1, as its declaration asks for no MaxBatch" : FormattableString.Invariant($"from 1 to {layout.MaximumBatch}, the declaration's MaxBatch");
            throw new ArgumentOutOfRangeException(optionsName, asked, $"The Batch of a session of {layout.ModelName} must be {most}.");
        }

        return asked;
    }

    /// <summary>Checks a model's layout: everything that is copied or read must lie inside the arena.</summary>
    public static void InsideArena(string modelName, string field, long offset, long count, long arenaBytes)
    {
        if (offset < 0 || count < 0 || offset > (arenaBytes / sizeof(float)) - count)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The layout of {modelName} is invalid: {field} covers the floats {offset} to {offset + count} of an arena of {arenaBytes / sizeof(float)}."));
        }
    }

    /// <summary>Checks the integers of an input: each is from 0 to below its number of classes, or -1 where that is allowed.</summary>
    public static void Ids(ReadOnlySpan<int> ids, EntryInput input)
    {
        for (int index = 0; index < ids.Length; index++)
        {
            // One unsigned comparison covers negative ids.
            if ((uint)ids[index] >= (uint)input.Classes && !(input.MayBeIgnored && ids[index] == -1))
            {
                throw new ArgumentOutOfRangeException(
                    input.Name,
                    ids[index],
                    FormattableString.Invariant($"The element {ids[index]} of {input.Name} at index {index} is not from 0 to {input.Classes - 1}{(input.MayBeIgnored ? ", nor -1 (ignored)" : "")}."));
            }
        }
    }

    public static void TokenIds(ReadOnlySpan<int> tokens, int vocabularySize, string parameterName)
    {
        for (int index = 0; index < tokens.Length; index++)
        {
            // One unsigned comparison covers negative ids.
            if ((uint)tokens[index] >= (uint)vocabularySize)
            {
                ThrowTokenId(index, tokens[index], vocabularySize, parameterName);
            }
        }
    }

    /// <summary>Checks one of several token ids.</summary>
    public static void TokenId(ReadOnlySpan<int> tokens, int index, int vocabularySize, string parameterName)
    {
        if ((uint)tokens[index] >= (uint)vocabularySize)
        {
            ThrowTokenId(index, tokens[index], vocabularySize, parameterName);
        }
    }

    [DoesNotReturn]
    private static void ThrowTokenId(int index, int id, int vocabularySize, string parameterName)
        => throw new ArgumentOutOfRangeException(
            parameterName,
            id,
            FormattableString.Invariant($"The token id {id} at index {index} is outside the vocabulary: it has {vocabularySize} tokens, ids 0 to {vocabularySize - 1}."));
}
