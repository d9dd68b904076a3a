namespace Corpora;

/// <summary>Two sentences that say the same.</summary>
/// <param name="First">One of them.</param>
/// <param name="Second">The other one, of another form.</param>
public sealed record Paraphrase(TaggedSentence First, TaggedSentence Second);

/// <summary>A sentence, the same with a word replaced by one that means as much, and the same with a word replaced by one that does not.</summary>
/// <param name="Sentence">The sentence.</param>
/// <param name="Paraphrase">It in another word.</param>
/// <param name="Distractors">Sentences that share as many words with it, at the same places, and speak of somebody or something of another walk of life.</param>
public sealed record RewordedSentence(TaggedSentence Sentence, TaggedSentence Paraphrase, IReadOnlyList<TaggedSentence> Distractors);

/// <summary>Pairs of sentences that say the same in other words: active and passive, clefts, the place first or last; over the words and forms of <see cref="StoryCorpus"/>.</summary>
/// <remarks>
/// A model that represents sentences should find each one's paraphrase among all the others', many of which speak of the same people and things. Neither sentence of a held-out pair is in any training
/// story or pair, and no two pairs say the same.
/// </remarks>
public static class ParaphraseCorpus
{
    /// <summary>Words that the stories use alike, and people too.</summary>
    private static readonly (string, string)[] Synonyms =
    [
        ("wanted", "hoped"), ("liked", "loved"), ("went", "walked"), ("laughed", "smiled"), ("kind", "friendly"), ("kingdom", "country"), ("ship", "boat"), ("burrow", "den"), ("castle", "palace"),
    ];

    /// <summary>Writes pairs.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="count">The number of pairs.</param>
    /// <param name="heldOut">Whether both sentences are held-out ones; otherwise neither is, and the pairs may be trained on.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative.</exception>
    public static IReadOnlyList<Paraphrase> Generate(ulong seed = 1, int count = 200, bool heldOut = true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var draw = new Draw(seed);
        var seen = new HashSet<string>();
        var pairs = new List<Paraphrase>(count);
        while (pairs.Count < count)
        {
            Realm realm = draw.One(StoryWorld.Realms);
            Clause clause = draw.Chance(70) ? Clause.Random(realm, realm, draw) : Clause.Meeting(realm, draw.One(StoryWorld.Realms), draw);
            TaggedSentence[] forms = [.. clause.Forms.Select(clause.Sentence).Where(sentence => Partition.IsHeldOut(sentence.Line) == heldOut)];
            if (forms.Length < 2 || !seen.Add(clause.Write(ClauseForm.Active)))
                continue;
            draw.Shuffle(forms.AsSpan());
            pairs.Add(new Paraphrase(forms[0], forms[1]));
        }
        return pairs;
    }

    /// <summary>Rewords sentences: "At night he walked back to the cottage." becomes "At night he went back to the cottage.", and not "At night he walked back to the ship."</summary>
    /// <remarks>
    /// The paraphrase and every distractor differ from the sentence in one word, at one place: who counts common words, or adds up vectors of words that mean nothing yet, cannot tell them
    /// apart. A model must know that castles are as good as palaces, and burrows are not.
    /// </remarks>
    /// <param name="sentences">The sentences, such as the held-out ones of the stories; those that have no word to replace are passed over.</param>
    /// <param name="distractors">The number of distractors of each.</param>
    /// <param name="seed">The seed.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative.</exception>
    public static IReadOnlyList<RewordedSentence> Reword(IEnumerable<TaggedSentence> sentences, int distractors = 10, ulong seed = 1)
    {
        ArgumentNullException.ThrowIfNull(sentences);
        ArgumentOutOfRangeException.ThrowIfNegative(distractors);
        var draw = new Draw(seed, 3);
        Func<Realm, IEnumerable<string>>[] kinds =
        [
            realm => realm.Roles.Select(role => role.Noun), realm => realm.Roles.Select(role => role.Plural),
            realm => realm.Homes.Select(home => Template.Parse(home)[^1].Word), realm => realm.Things,
        ];
        string[][][] nouns = [.. kinds.Select(kind => StoryWorld.Realms.Select(realm => kind(realm).ToArray()).ToArray())];
        var places = new Dictionary<string, (string[][] Kind, string[] Own)>();
        foreach (string[][] kind in nouns)
        {
            foreach (string[] own in kind)
            {
                foreach (string noun in own)
                    places.TryAdd(noun, (kind, own));
            }
        }

        var reworded = new List<RewordedSentence>();
        foreach (TaggedSentence sentence in sentences)
        {
            int synonym = Enumerable.Range(0, sentence.Tagged.Count).FirstOrDefault(i => Synonym(sentence, i) is not null, -1);
            int[] others = [.. Enumerable.Range(0, sentence.Tagged.Count).Where(i => i != synonym && sentence.Tagged[i].Tag == PartOfSpeech.Noun && places.ContainsKey(sentence.Tagged[i].Word))];
            if (synonym < 0 || others.Length == 0)
                continue;
            TaggedSentence Distractor()
            {
                int place = draw.One(others);
                (string[][] kind, string[] own) = places[sentence.Tagged[place].Word];
                return Replace(sentence, place, draw.One(draw.Other(kind, own)));
            }
            reworded.Add(new RewordedSentence(sentence, Replace(sentence, synonym, Synonym(sentence, synonym)!), [.. Enumerable.Range(0, distractors).Select(_ => Distractor())]));
        }
        return reworded;
    }

    private static string? Synonym(TaggedSentence sentence, int place)
    {
        string word = sentence.Tagged[place].Word;
        if (place > 0 && sentence.Tagged[place - 1].Word == "there")
            return word switch { "was" => "lived", "lived" => "was", _ => null };
        foreach ((string one, string other) in Synonyms)
        {
            if (word == one || word == other)
                return word == one ? other : one;
        }
        return null;
    }

    private static TaggedSentence Replace(TaggedSentence sentence, int place, string word)
        => new(sentence.Tagged.Select((tagged, i) => i == place ? tagged with { Word = word } : tagged));
}
