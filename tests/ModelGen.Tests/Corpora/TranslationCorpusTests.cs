using global::Corpora;

namespace ModelGen.Tests.Corpora;

public sealed class TranslationCorpusTests
{
    private static readonly TranslationCorpus s_corpus = TranslationCorpus.Generate();
    private static readonly Lazy<Dictionary<string, string>> s_many = new(() => TranslationCorpus.Generate(seed: 3, training: 150_000, heldOut: 16_000) is var corpus
        ? corpus.Training.Concat(corpus.HeldOut).ToDictionary(pair => pair.EnglishLine, pair => TranslationCorpus.WriteFrench(pair.French))
        : []);

    [Fact]
    public void The_same_seed_gives_the_same_sentences()
    {
        TranslationCorpus again = TranslationCorpus.Generate();
        Assert.Equal(s_corpus.Training.Select(pair => pair.FrenchLine), again.Training.Select(pair => pair.FrenchLine));
        Assert.Equal(s_corpus.HeldOut.Select(pair => pair.EnglishLine), again.HeldOut.Select(pair => pair.EnglishLine));
        Assert.Equal(20_000, s_corpus.Training.Count);
        Assert.Equal(1000, s_corpus.HeldOut.Count);
    }

    [Fact]
    public void No_held_out_sentence_is_in_the_training_part_of_any_seed()
    {
        HashSet<string> training = [.. s_corpus.Training.Concat(TranslationCorpus.Generate(seed: 77, heldOut: 0).Training).Select(pair => pair.EnglishLine)];
        Assert.DoesNotContain(s_corpus.HeldOut, pair => training.Contains(pair.EnglishLine));
    }

    [Fact]
    public void The_vocabularies_have_every_word_and_lengths_are_bounded()
    {
        HashSet<string> english = [.. TranslationCorpus.EnglishWords], french = [.. TranslationCorpus.FrenchWords];
        foreach (SentencePair pair in s_corpus.Training.Concat(s_corpus.HeldOut))
        {
            Assert.True(english.IsSupersetOf(pair.English), pair.EnglishLine);
            Assert.True(french.IsSupersetOf(pair.French), pair.FrenchLine);
            Assert.True(pair.English.Count <= TranslationCorpus.MaximumLength && pair.French.Count <= TranslationCorpus.MaximumLength);
        }
        Assert.Empty(s_corpus.HeldOut.SelectMany(pair => pair.English).Except(s_corpus.Training.SelectMany(pair => pair.English)));
        Assert.Empty(s_corpus.HeldOut.SelectMany(pair => pair.French).Except(s_corpus.Training.SelectMany(pair => pair.French)));
    }

    /// <summary>English determines French, and people who know both wrote these.</summary>
    [Theory]
    [InlineData("I am a student.", "Je suis étudiant .")]
    [InlineData("I am not a student.", "Je ne suis pas étudiant .")]
    [InlineData("She is a student.", "Elle est étudiante .")]
    [InlineData("They are students.", "Ils sont étudiants .")]
    [InlineData("I see him.", "Je le vois .")]
    [InlineData("He doesn't love me.", "Il ne m'aime pas .")]
    [InlineData("We don't hear them.", "Nous ne les entendons pas .")]
    [InlineData("Does she sleep?", "Est-ce qu'elle dort ?")]
    [InlineData("She is tired.", "Elle est fatiguée .")]
    [InlineData("She always sings.", "Elle chante toujours .")]
    [InlineData("The man is tired.", "L'homme est fatigué .")]
    [InlineData("The women are happy.", "Les femmes sont heureuses .")]
    [InlineData("You love the cow.", "Tu aimes la vache .")]
    [InlineData("We eat the cake.", "Nous mangeons le gâteau .")]
    public void Known_sentences_are_translated_as_people_do(string english, string french) =>
        Assert.Equal(french, s_many.Value[string.Join(' ', TranslationCorpus.TokenizeEnglish(english))]);

    /// <summary>Every determiner and adjective agrees with its noun by a lexicon of the test's own, and no vowel is left where one is lost.</summary>
    [Fact]
    public void Determiners_and_adjectives_agree()
    {
        Dictionary<string, (bool Feminine, bool Plural)> nouns = [];
        foreach (string noun in "homme garçon roi enfant oncle chat chien livre arbre jardin".Split(' '))
            (nouns[noun], nouns[noun + "s"]) = ((false, false), (false, true));
        foreach (string noun in "femme fille reine tante vache maison voiture pomme école lettre fleur rivière".Split(' '))
            (nouns[noun], nouns[noun + "s"]) = ((true, false), (true, true));
        foreach (string pair in "oiseau:oiseaux cheval:chevaux gâteau:gâteaux journal:journaux".Split(' '))
            (nouns[pair.Split(':')[0]], nouns[pair.Split(':')[1]]) = ((false, false), (false, true));
        Dictionary<string, (bool? Feminine, bool Plural)> others = new()
        {
            ["le"] = (false, false),
            ["la"] = (true, false),
            ["les"] = (null, true),
            ["un"] = (false, false),
            ["une"] = (true, false),
            ["ce"] = (false, false),
            ["cet"] = (false, false),
            ["cette"] = (true, false),
            ["ces"] = (null, true),
            ["ma"] = (true, false),
            ["ta"] = (true, false),
            ["sa"] = (true, false),
            ["mes"] = (null, true),
            ["nos"] = (null, true),
            ["notre"] = (null, false),
            ["grand"] = (false, false),
            ["grande"] = (true, false),
            ["grands"] = (false, true),
            ["grandes"] = (true, true),
            ["vieil"] = (false, false),
            ["vieille"] = (true, false),
            ["vieilles"] = (true, true),
            ["nouvel"] = (false, false),
            ["nouvelles"] = (true, true),
            ["jolis"] = (false, true),
            ["jolies"] = (true, true),
            ["petites"] = (true, true),
        };
        int checkedPairs = 0;
        foreach (SentencePair pair in s_corpus.Training)
        {
            IReadOnlyList<string> words = pair.French;
            for (int i = 0; i + 1 < words.Count; i++)
            {
                bool vowel = "aâeéèêiouh".Contains(words[i + 1][0], StringComparison.Ordinal);
                Assert.False(vowel && words[i] is "je" or "ne" or "le" or "la" or "de" or "me" or "te" or "que" or "ce" or "ma" or "ta" or "sa" or "beau" or "nouveau" && vowel, pair.FrenchLine);
                Assert.False(words[i] == "de" && words[i + 1] is "le" or "les" && words[i] == "de", pair.FrenchLine);
                Assert.False(words[i].EndsWith('\'') && !vowel, pair.FrenchLine);

                // A determiner or an adjective before its noun, with no verb between: the next noun follows at once or after one adjective.
                if (!others.TryGetValue(words[i], out (bool? Feminine, bool Plural) form))
                    continue;
                int at = nouns.ContainsKey(words[i + 1]) ? i + 1 : i + 2 < words.Count && others.ContainsKey(words[i + 1]) && nouns.ContainsKey(words[i + 2]) ? i + 2 : -1;
                if (at < 0)
                    continue;
                (bool feminine, bool plural) = nouns[words[at]];
                Assert.True(form.Plural == plural && (form.Feminine is null || form.Feminine == feminine), $"{words[i]} {words[at]}: {pair.FrenchLine}");
                checkedPairs++;
            }
        }
        Assert.True(checkedPairs > 5000);
    }

    /// <summary>"Not" and "ne … pas" come together, around the verb and what stands before it.</summary>
    [Fact]
    public void Negation_surrounds_the_verb()
    {
        foreach (SentencePair pair in s_corpus.Training)
        {
            int ne = pair.French.ToList().FindIndex(word => word is "ne" or "n'"), pas = pair.French.ToList().IndexOf("pas");
            Assert.Equal(pair.English.Contains("not"), ne >= 0);
            Assert.Equal(ne >= 0, pas >= 0);
            Assert.True(ne < 0 || pas - ne is 2 or 3, pair.FrenchLine);
        }
    }

    [Fact]
    public void Typed_sentences_are_split_into_the_words_of_the_grammar()
    {
        Assert.Equal(["i", "do", "not", "see", "the", "king", "'s", "cat", "."], TranslationCorpus.TokenizeEnglish("I don't see the king's cat."));
        Assert.Equal(["the", "kings", "'", "cats", "are", "black", "."], TranslationCorpus.TokenizeEnglish(" The kings' cats are black ."));
    }
}
