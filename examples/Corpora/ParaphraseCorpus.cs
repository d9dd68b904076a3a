namespace Corpora;

/// <summary>Two sentences that say the same.</summary>
/// <param name="First">One of them.</param>
/// <param name="Second">The other one, of another form.</param>
public sealed record Paraphrase(TaggedSentence First, TaggedSentence Second);

/// <summary>Pairs of sentences that say the same in other words: active and passive, clefts, the place first or last; over the words and forms of <see cref="StoryCorpus"/>.</summary>
/// <remarks>
/// A model that represents sentences should find each one's paraphrase among all the others', many of which speak of the same people and things. Neither sentence of a pair is in any training
/// story, and no two pairs say the same.
/// </remarks>
public static class ParaphraseCorpus
{
    /// <summary>Writes pairs.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="count">The number of pairs.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative.</exception>
    public static IReadOnlyList<Paraphrase> Generate(ulong seed = 1, int count = 200)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var draw = new Draw(seed);
        var seen = new HashSet<string>();
        var pairs = new List<Paraphrase>(count);
        while (pairs.Count < count)
        {
            Realm realm = draw.One(StoryWorld.Realms);
            Clause clause = draw.Chance(70) ? Clause.Random(realm, realm, draw) : Clause.Meeting(realm, draw.One(StoryWorld.Realms), draw);
            TaggedSentence[] heldOut = [.. clause.Forms.Select(clause.Sentence).Where(sentence => Partition.IsHeldOut(sentence.Line))];
            if (heldOut.Length < 2 || !seen.Add(clause.Write(ClauseForm.Active)))
                continue;
            draw.Shuffle(heldOut);
            pairs.Add(new Paraphrase(heldOut[0], heldOut[1]));
        }
        return pairs;
    }
}
