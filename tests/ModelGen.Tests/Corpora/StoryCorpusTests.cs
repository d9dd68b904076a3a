using global::Corpora;

namespace ModelGen.Tests.Corpora;

public sealed class StoryCorpusTests
{
    private static readonly StoryCorpus s_corpus = StoryCorpus.Generate(training: 1500, heldOut: 150);

    [Fact]
    public void The_same_seed_gives_the_same_stories()
    {
        StoryCorpus again = StoryCorpus.Generate(training: 1500, heldOut: 150);
        Assert.Equal(s_corpus.Training.Select(story => story.Text), again.Training.Select(story => story.Text));
        Assert.Equal(s_corpus.HeldOut.Select(story => story.Text), again.HeldOut.Select(story => story.Text));
        Assert.NotEqual(s_corpus.Training[0].Text, StoryCorpus.Generate(seed: 21, training: 1, heldOut: 0).Training[0].Text);
    }

    [Fact]
    public void No_held_out_sentence_is_in_a_training_story_of_any_seed()
    {
        HashSet<string> training = [.. s_corpus.TrainingSentences.Concat(StoryCorpus.Generate(seed: 99, training: 500, heldOut: 0).TrainingSentences).Select(sentence => sentence.Line)];
        Assert.DoesNotContain(s_corpus.HeldOutSentences, sentence => training.Contains(sentence.Line));
        Assert.True(s_corpus.HeldOutSentences.Count > 0.6 * s_corpus.HeldOut.Sum(story => story.Sentences.Count));
    }

    [Fact]
    public void The_held_out_part_has_no_word_of_its_own()
    {
        StoryCorpus whole = StoryCorpus.Generate();
        Assert.Empty(whole.HeldOut.SelectMany(story => story.Words).Except(whole.Words));
        Assert.InRange(whole.Words.Count, 350, 600);
    }

    [Fact]
    public void Royals_sit_on_thrones_and_animals_do_not()
    {
        string[] sitters =
        [
            .. s_corpus.TrainingSentences.Where(sentence => sentence.Line.Contains("on the throne", StringComparison.Ordinal)).Select(sentence =>
                sentence.Tagged.TakeWhile(word => word.Word != "sat").LastOrDefault(word => word.Tag is PartOfSpeech.Noun or PartOfSpeech.Pron or PartOfSpeech.Propn && word.Word != "who").Word),
        ];
        Assert.True(sitters.Length > 30);
        Assert.Contains("king", sitters);
        Assert.Contains("queen", sitters);
        Assert.Empty(sitters.Intersect(["armadillo", "fox", "wolf", "hare", "badger", "hedgehog", "otter", "squirrel", "farmer", "sailor"]));
    }

    /// <summary>Articles agree with the sound that follows, the verb with its object's number.</summary>
    [Fact]
    public void Articles_and_auxiliaries_agree()
    {
        foreach (TaggedSentence sentence in s_corpus.TrainingSentences)
        {
            IReadOnlyList<TaggedWord> words = sentence.Tagged;
            Assert.Equal(PartOfSpeech.Punct, words[^1].Tag);
            for (int i = 0; i + 1 < words.Count; i++)
            {
                bool vowel = "aeiou".Contains(words[i + 1].Word[0], StringComparison.Ordinal);
                Assert.False(words[i].Word == "a" && vowel, sentence.Line);
                Assert.False(words[i].Word == "an" && !vowel, sentence.Line);
                Assert.False(words[i] is { Word: "by", Tag: PartOfSpeech.Adp } && words[i + 1].Word is "he" or "she" && words[i].Word == "by", sentence.Line);
                if (words[i].Tag == PartOfSpeech.Noun && words[i + 1] is { Word: "was", Tag: PartOfSpeech.Aux })
                    Assert.DoesNotContain(words[i].Word, new[] { "kings", "queens", "foxes", "ants", "beetles", "leaves", "pigs", "hens", "barrels" });
            }
        }
    }

    /// <summary>A word of several parts of speech occurs as each of them, often enough to be learned.</summary>
    [Theory]
    [InlineData("her", PartOfSpeech.Det, PartOfSpeech.Pron)]
    [InlineData("that", PartOfSpeech.Det, PartOfSpeech.Sconj)]
    [InlineData("to", PartOfSpeech.Adp, PartOfSpeech.Part)]
    [InlineData("light", PartOfSpeech.Noun, PartOfSpeech.Adj)]
    [InlineData("rest", PartOfSpeech.Noun, PartOfSpeech.Verb)]
    [InlineData("well", PartOfSpeech.Noun, PartOfSpeech.Adv)]
    [InlineData("round", PartOfSpeech.Adp, PartOfSpeech.Adj)]
    public void Some_words_have_several_tags(string word, PartOfSpeech first, PartOfSpeech second)
    {
        Dictionary<PartOfSpeech, int> tags = s_corpus.TrainingSentences.SelectMany(sentence => sentence.Tagged).Where(tagged => tagged.Word == word).CountBy(tagged => tagged.Tag).ToDictionary();
        Assert.True(tags[first] >= 10 && tags[second] >= 10, $"{word}: {string.Join(", ", tags)}");
    }

    [Fact]
    public void Text_is_written_as_people_write_it()
    {
        Assert.All(s_corpus.Training.Take(200), story =>
        {
            Assert.Matches("^[A-Z][A-Za-z .]*\\.$", story.Text);
            Assert.DoesNotContain(" .", story.Text, StringComparison.Ordinal);
        });
    }
}
