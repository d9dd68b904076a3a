using System.Text;
using System.Text.RegularExpressions;
using CharGpt;
using CharGpt.Corpus;

namespace ModelGen.Tests.CharGpt;

public partial class CorpusTests
{
    private static readonly Lazy<byte[]> s_written = new(() => StoryGrammar.Write());

    private static string Text => Encoding.ASCII.GetString(s_written.Value);

    [Fact]
    public void TheEmbeddedStoriesAreWhatTheGrammarWrites() => Assert.Equal(s_written.Value, TextSource.Stories());

    [Fact]
    public void TheStoriesHaveTheSizeAndFormOfACorpus()
    {
        Assert.InRange(s_written.Value.Length, StoryGrammar.DefaultBytes, StoryGrammar.DefaultBytes + 5000);
        Assert.All(s_written.Value, b => Assert.True(b is (byte)'\n' or (>= 0x20 and < 0x7F), $"byte {b}"));
        Assert.DoesNotContain("  ", Text, StringComparison.Ordinal);
        Assert.DoesNotContain(" \n", Text, StringComparison.Ordinal);
        Assert.DoesNotContain("\n\n\n", Text, StringComparison.Ordinal);
        Assert.EndsWith(".\n\n", Text, StringComparison.Ordinal);
        string[] stories = Text.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.True(stories.Length > 300, $"{stories.Length} stories");
        Assert.Equal(stories.Length, stories.Distinct().Count());
        foreach (string subject in new[] { "Once upon a time", "king", "queen", "throne", "rain", "snow", "fox" })
            Assert.Contains(subject, Text, StringComparison.Ordinal);
    }

    [Fact]
    public void OtherSeedsWriteOtherStories()
    {
        Assert.NotEqual(StoryGrammar.Write(1, 3000), StoryGrammar.Write(2, 3000));
        Assert.Equal(StoryGrammar.Write(1, 3000), StoryGrammar.Write(1, 3000));
    }

    [Fact]
    public void ArticlesAndNumbersAgree()
    {
        Assert.DoesNotMatch(@"\b[Aa] [aeiou]", Text);
        Assert.DoesNotMatch(@"\b[Aa]n [^aeiou]", Text);
        Assert.DoesNotMatch(@"\bone (foxes|wolves|bears|owls|hares|cats|goats|ravens|mice|frogs|geese|donkeys)\b", Text);
        Assert.DoesNotMatch(@"\b(two|three|four|five|six|seven|eight|nine|ten) (fox|wolf|bear|owl|hare|cat|goat|raven|mouse|frog|goose|donkey)\b", Text);
        Assert.DoesNotMatch(@"\b(boots|gloves|apples|coins|bells) (was|is)\b", Text);
    }

    [Fact]
    public void CountsAddUp()
    {
        string[] numbers = Words.Numbers;
        int Value(string word) => Array.IndexOf(numbers, word.ToLowerInvariant());

        int checkedSums = 0;
        foreach (Match match in Left().Matches(Text))
        {
            Assert.Equal(Value(match.Groups["all"].Value), Value(match.Groups["gone"].Value) + Value(match.Groups["left"].Value));
            checkedSums++;
        }
        foreach (Match match in More().Matches(Text))
        {
            Assert.Equal(Value(match.Groups["total"].Value), Value(match.Groups["first"].Value) + Value(match.Groups["more"].Value));
            checkedSums++;
        }
        Assert.True(checkedSums > 50, $"{checkedSums} sums");
    }

    [Fact]
    public void PronounsAgreeWithTitles()
    {
        int found = 0;
        foreach (Match match in Home().Matches(Text))
        {
            Assert.Equal(match.Groups["title"].Value is "King" or "Prince" ? "he" : "she", match.Groups["pronoun"].Value);
            found++;
        }
        Assert.True(found > 20, $"{found} places");
    }

    [Fact]
    public void WhatWasHiddenIsFoundWhereItWasHidden()
    {
        int found = 0;
        foreach (Match match in Hidden().Matches(Text))
        {
            Assert.Equal(match.Groups["hidden"].Value, match.Groups["found"].Value);
            found++;
        }
        Assert.True(found > 50, $"{found} searches");
    }

    [GeneratedRegex(@"saw (?<all>\w+) \w+ [^.]*\. (?<gone>\w+) of the \w+ ran away, so (?<left>\w+) ")]
    private static partial Regex Left();

    [GeneratedRegex(@"saw (?<first>\w+) \w+ [^.]*\. Then (?<more>\w+) more came, so now there were (?<total>\w+) ")]
    private static partial Regex More();

    [GeneratedRegex(@"And if (?<pronoun>he|she) has not gone away, (?<title>King|Queen|Prince|Princess) ")]
    private static partial Regex Home();

    [GeneratedRegex(@"hid (it|them) (?<hidden>\w+ the \w+)\.[^\n]*?looked (?<found>\w+ the \w+), and there (it was|they were)\.")]
    private static partial Regex Hidden();
}
