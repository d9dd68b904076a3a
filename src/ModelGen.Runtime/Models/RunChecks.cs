using System.Diagnostics.CodeAnalysis;

namespace ModelGen.Runtime;

/// <summary>Checks that sessions and trainers share.</summary>
internal static class RunChecks
{
    public static int Threads(int threads, string optionsName)
    {
        if (threads is < 0 or > 1024)
        {
            throw new ArgumentOutOfRangeException(optionsName, threads, "Threads must be from 0 (one per processor) to 1024.");
        }

        return threads;
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

    [DoesNotReturn]
    private static void ThrowTokenId(int index, int id, int vocabularySize, string parameterName)
        => throw new ArgumentOutOfRangeException(
            parameterName,
            id,
            FormattableString.Invariant($"The token id {id} at index {index} is outside the vocabulary: it has {vocabularySize} tokens, ids 0 to {vocabularySize - 1}."));
}
