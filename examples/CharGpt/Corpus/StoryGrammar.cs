using System.Text;
using ModelGen;

namespace CharGpt.Corpus;

/// <summary>
/// Writes the default corpus: short stories from a probabilistic grammar over a little world. The world remembers who owns what,
/// who is where, how many there are and what the weather was, and the sentences follow it, so that number, pronouns, owners,
/// places and counts can be predicted from the text before, and got wrong.
/// </summary>
/// <remarks>The same seed and size give the same bytes everywhere: numbers come from <see cref="CounterRandom"/>, text is ASCII.</remarks>
internal sealed class StoryGrammar
{
    /// <summary>The seed of the corpus that is checked in.</summary>
    public const ulong DefaultSeed = 20;

    /// <summary>The size of the corpus that is checked in is the first end of a story at or after this many bytes.</summary>
    public const int DefaultBytes = 400_000;

    private readonly StringBuilder _text = new();
    private readonly List<Character> _cast = [];
    private CounterRandom _random;
    private Character? _focus;

    private StoryGrammar(ulong seed)
    {
        _random = new CounterRandom(seed);
    }

    /// <summary>Writes stories, each a line or a few, with an empty line after each.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="minimumBytes">The text ends with the story that reaches this length.</param>
    public static byte[] Write(ulong seed = DefaultSeed, int minimumBytes = DefaultBytes)
    {
        var grammar = new StoryGrammar(seed);
        while (grammar._text.Length < minimumBytes)
            grammar.Story();
        return Encoding.ASCII.GetBytes(grammar._text.ToString());
    }

    private void Story()
    {
        _cast.Clear();
        _focus = null;
        Character hero = Enter(Chance(55) ? Words.Royals : Chance(50) ? Words.Commoners : Words.Animals);
        Opening(hero);
        Character friend = Enter(hero.Kind.IsAnimal || Chance(40) ? Words.Commoners : Words.Animals);
        Meeting(hero, friend);
        int episodes = 2 + Pick(3);
        int last = -1;
        for (int i = 0; i < episodes; i++)
        {
            int episode;
            do
                episode = Pick(10);
            while (episode == last);
            last = episode;
            if (Chance(45))
                EndParagraph();
            Character one = Chance(65) ? hero : friend;
            Character other = one == hero ? friend : hero;
            switch (episode)
            {
                case 0: GiveAway(one, other); break;
                case 1: HideAndSeek(one, other); break;
                case 2: Journey(one, other); break;
                case 3: Question(one, other); break;
                case 4: Counting(one); break;
                case 5: Trade(one, other); break;
                case 6: Storm(one, other); break;
                case 7: Comparison(one, other); break;
                case 8: Week(one); break;
                default: Feast(one, other); break;
            }
        }
        EndParagraph();
        Ending(hero, friend);
        _text.Append("\n\n");
    }

    private void Opening(Character hero)
    {
        string start = PickOne("Once upon a time there was ", "Once upon a time there lived ", "Long ago there was ", "There once was ");
        string described = $"{start}{Article(hero.Adjective)} {hero.Kind.Noun} named {hero.Name}";
        Say(Pick(3) switch
        {
            0 => $"{described} who lived {hero.Home.In}.",
            1 => $"{described}, and {hero.Pronoun} lived {hero.Home.In}.",
            _ => $"{described}. {hero.PronounUpper} lived {hero.Home.In}.",
        });
        _focus = hero;
        if (hero.Kind.Title is "King" or "Queen")
        {
            Say(PickOne(
                $"Every morning {hero.Pronoun} sat on the throne and listened to the people.",
                $"The throne of {hero.Called} was made of stone, and {hero.Pronoun} sat on it every day.",
                $"{hero.PronounUpper} was {hero.Virtue}, and the people were glad that {hero.Pronoun} sat on the throne."));
        }
        else if (hero.Kind.Title is not null)
        {
            Say(PickOne(
                $"One day {hero.Pronoun} would sit on the throne, but not yet.",
                $"{hero.PossessiveUpper} {(Chance(50) ? "father" : "mother")} sat on the throne, and {hero.Pronoun} was {hero.Virtue}."));
        }
        else if (hero.Kind.IsAnimal)
        {
            Say($"\"{hero.Kind.Sound}!\" said {hero.Called} every morning, because {hero.Pronoun} was {hero.Virtue}.");
        }
        else
        {
            Say($"{hero.PronounUpper} was {hero.Virtue}, and {hero.Pronoun} worked all day {hero.Home.In}.");
        }
        Thing thing = hero.Owned!;
        Say(Pick(3) switch
        {
            0 => $"{hero.PronounUpper} had {hero.Described}, and {hero.Pronoun} {thing.Use} {It(thing)} every day.",
            1 => $"Of all things {hero.Pronoun} loved {hero.Possessive} {hero.ThingAdjective} {thing.Noun} the most.",
            _ => $"{hero.PronounUpper} owned {hero.Described}. {Capital(They(thing))} {Was(thing)} the best in the land.",
        });
    }

    private void Meeting(Character hero, Character friend)
    {
        string time = PickOne("One day", "One morning", "One evening", "In the spring", "In the autumn");
        Say(PickOne(
            $"{time} {Refer(hero)} walked {friend.Home.To} and met {Article(friend.Adjective)} {friend.Kind.Noun} named {friend.Name}.",
            $"{time} {Refer(hero)} went {friend.Home.To}. There {hero.Pronoun} met {Article(friend.Adjective)} {friend.Kind.Noun} whose name was {friend.Name}."));
        _focus = null;
        Thing thing = friend.Owned!;
        Say(PickOne(
            $"{friend.Called} had {friend.Described}, and {They(thing)} {Was(thing)} very dear to {friend.Object}.",
            $"\"Look at my {friend.ThingAdjective} {thing.Noun},\" said {friend.Called}.",
            $"\"I am {friend.Name} the {friend.Kind.Noun},\" said {friend.Called}, \"and {This(thing)} {Are(thing)} my {thing.Noun}.\""));
        _focus = friend;
        if (Chance(50))
        {
            Say(PickOne(
                $"{hero.Called} and {friend.Called} became friends.",
                $"\"I am {hero.Name},\" said {hero.Called}. \"Good day, {hero.Name},\" said {friend.Called}.",
                $"{friend.Called} was {friend.Virtue}, and {hero.Called} liked {friend.Object} at once."));
            _focus = null;
        }
    }

    private void GiveAway(Character giver, Character taker)
    {
        if (giver.Owned is not { } thing || taker.Owned is null)
        {
            Counting(giver);
            return;
        }
        string adjective = giver.ThingAdjective;
        Say(PickOne(
            $"{Capital(Refer(giver))} saw that {taker.Called} was sad.",
            $"The next day {taker.Called} helped {giver.Called}, and {giver.Pronoun} was thankful.",
            $"Then {giver.Called} thought about {giver.Possessive} {thing.Noun}."));
        _focus = null;
        Say(PickOne(
            $"So {giver.Called} gave {giver.Possessive} {adjective} {thing.Noun} to {taker.Called}.",
            $"\"Take my {thing.Noun},\" said {giver.Called}, and {giver.Pronoun} gave {It(thing)} to {taker.Called}."));
        giver.Lose();
        taker.Second = thing;
        taker.SecondAdjective = adjective;
        Say(PickOne(
            $"Now the {adjective} {thing.Noun} belonged to {taker.Called}.",
            $"Now {taker.Called} had {taker.Possessive} {taker.Owned!.Noun} and the {thing.Noun}, and {giver.Called} had nothing.",
            $"{taker.Called} {thing.Use} {It(thing)} and thanked {giver.Called}."));
        Say(PickOne(
            $"\"Thank you, {giver.Name},\" said {taker.Called}. \"I will keep the {thing.Noun} well.\"",
            $"\"You are {giver.Virtue}, {giver.Name},\" said {taker.Called}."));

        // The gift is returned before the story goes on, or it stays where it is.
        if (Chance(50))
        {
            Say(PickOne(
                $"But after {Words.Numbers[2 + Pick(6)]} days {taker.Called} brought the {thing.Noun} back, and {giver.Called} owned {It(thing)} again.",
                $"A week later {taker.Called} gave the {adjective} {thing.Noun} back to {giver.Called}."));
            taker.Second = null;
            giver.Own(thing, adjective);
        }
        _focus = taker;
    }

    private void HideAndSeek(Character owner, Character helper)
    {
        if (owner.Owned is not { } thing)
        {
            Question(owner, helper);
            return;
        }
        Character thief = Enter(Words.Animals);
        Place hiding = OtherPlace(null, null);
        Say(PickOne(
            $"One night {Article(thief.Kind.Noun)} named {thief.Name} stole the {thing.Noun} of {owner.Called} and hid {It(thing)} {hiding.In}.",
            $"While {owner.Called} slept, {Article(thief.Kind.Noun)} took the {owner.ThingAdjective} {thing.Noun} and hid {It(thing)} {hiding.In}. The thief was called {thief.Name}."));
        _focus = owner;
        Say($"In the morning {owner.Called} could not find {owner.Possessive} {thing.Noun}.");
        if (Chance(60))
            Say($"\"Where {Are(thing)} my {thing.Noun}?\" cried {owner.Called}.");
        int wrong = Pick(3);
        Place? first = null;
        for (int i = 0; i < wrong; i++)
        {
            Place place = OtherPlace(hiding, first);
            first ??= place;
            Say(PickOne(
                $"{owner.PronounUpper} looked {place.In}, but the {thing.Noun} {Was(thing)} not there.",
                $"{owner.PronounUpper} searched {place.In} and found nothing."));
        }
        Say(PickOne(
            $"Then {helper.Called} looked {hiding.In}, and there {They(thing)} {Was(thing)}.",
            $"At last {owner.Pronoun} looked {hiding.In}, and there {They(thing)} {Was(thing)}.",
            $"\"I saw the {thing.Noun} {hiding.In},\" said {helper.Called}. So {owner.Called} went {hiding.To} and found {It(thing)}."));
        Say(PickOne(
            $"{thief.Called} was ashamed and said sorry to {owner.Called}.",
            $"\"I am sorry,\" said {thief.Name} the {thief.Kind.Noun}. {owner.Called} forgave {thief.Object}.",
            $"{owner.Called} held the {owner.ThingAdjective} {thing.Noun} and laughed."));
        _focus = owner;
        _cast.Remove(thief);
    }

    private void Journey(Character traveller, Character other)
    {
        Place goal = OtherPlace(traveller.Home, other.Home);
        string why = PickOne("to see the world", "to buy flour", "to visit an uncle", "to look for work", "to hear the news");
        Say(PickOne(
            $"The next week {Refer(traveller)} went {goal.To} {why}.",
            $"Then {Refer(traveller)} left {other.Called} and travelled {goal.To} {why}."));
        _focus = traveller;
        int days = 2 + Pick(8);
        Say(PickOne(
            $"{traveller.PronounUpper} stayed {goal.In} for {Words.Numbers[days]} days.",
            $"The way was long, and {traveller.Pronoun} walked for {Words.Numbers[days]} days."));
        if (Chance(60))
        {
            Character stranger = Enter(Words.Commoners);
            Say($"{Capital(goal.In)} {traveller.Pronoun} met {Article(stranger.Kind.Noun)} named {stranger.Name}, who was {stranger.Virtue}.");
            Say($"\"Where do you live?\" asked {stranger.Name}. \"I live {traveller.Home.In},\" said {traveller.Called}.");
            _cast.Remove(stranger);
        }
        if (Chance(70))
        {
            Say(PickOne(
                $"After {Words.Numbers[days]} days {traveller.Called} came home {goal.From}.",
                $"When {traveller.Called} came back {goal.From}, {other.Called} was glad to see {traveller.Object}.",
                $"Then {traveller.Pronoun} went home, and everybody {traveller.Home.In} was glad."));
        }
        else
        {
            Say($"Weeks went by, and {traveller.Called} was still {goal.In}. So {other.Called} went {goal.To} and brought {traveller.Object} home.");
        }
        _focus = traveller;
    }

    private void Question(Character asker, Character answerer)
    {
        switch (Pick(3))
        {
            case 0 when answerer.Owned is { } thing:
                Say($"\"Who owns the {answerer.ThingAdjective} {thing.Noun}?\" asked {asker.Called}.");
                Say(PickOne(
                    $"\"{(thing.IsPlural ? "They belong" : "It belongs")} to me,\" said {answerer.Called}.",
                    $"\"I do,\" said {answerer.Called}. \"{(thing.IsPlural ? "They are" : "It is")} mine.\""));
                break;
            case 1:
                Say($"\"Where {(answerer.Kind.IsAnimal ? "is your den" : "is your house")}?\" asked {asker.Called}.");
                Say($"\"{Capital(answerer.Home.In)},\" said {answerer.Called}. \"I have always lived {answerer.Home.In}.\"");
                break;
            default:
                Say($"\"What is your name?\" asked {Article(Words.Animals[Pick(Words.Animals.Length)].Noun)} on the road.");
                Say($"\"My name is {asker.Name},\" said {asker.Called}, \"and my friend is {answerer.Name} the {answerer.Kind.Noun}.\"");
                break;
        }
        _focus = null;
    }

    private void Counting(Character watcher)
    {
        Kind kind = Words.Animals[Pick(Words.Animals.Length)];
        int count = 2 + Pick(7);
        Place place = OtherPlace(watcher.Home, null);
        Say($"{Capital(Refer(watcher))} saw {Words.Numbers[count]} {kind.Plural} {place.In}.");
        int change = 1 + Pick(Math.Min(3, count - 1));
        if (Chance(55))
        {
            int left = count - change;
            Say($"{Capital(Words.Numbers[change])} of the {kind.Plural} ran away, so {Words.Numbers[left]} {(left == 1 ? kind.Noun + " was" : kind.Plural + " were")} left.");
        }
        else
        {
            int total = count + change;
            Say($"Then {Words.Numbers[change]} more came, so now there were {Words.Numbers[total]} {kind.Plural} {place.In}.");
        }
        Say(PickOne(
            $"\"{kind.Sound}, {kind.Sound.ToLowerInvariant()}!\" they said.",
            $"\"{Capital(kind.Plural)} are always hungry,\" said {watcher.Called}.",
            $"{watcher.Called} counted them and was pleased."));
        _focus = watcher;
    }

    private void Trade(Character one, Character other)
    {
        if (one.Owned is not { } first || other.Owned is not { } second)
        {
            Comparison(one, other);
            return;
        }
        string firstAdjective = one.ThingAdjective, secondAdjective = other.ThingAdjective;
        Say(PickOne(
            $"\"I will give you my {first.Noun} for your {second.Noun},\" said {one.Called}.",
            $"{one.Called} wanted the {secondAdjective} {second.Noun} of {other.Called}, and {other.Called} wanted the {firstAdjective} {first.Noun} of {one.Called}."));
        if (Chance(70))
        {
            Say($"{other.Called} agreed, and they shook {(one.Kind.IsAnimal || other.Kind.IsAnimal ? "paws" : "hands")}.");
            one.Own(second, secondAdjective);
            other.Own(first, firstAdjective);
            Say(PickOne(
                $"Now {one.Called} had the {second.Noun}, and {other.Called} had the {first.Noun}.",
                $"So the {first.Noun} went to {other.Called}, and the {second.Noun} went to {one.Called}."));
            Say($"{one.Called} {second.Use} {It(second)} until the evening.");
        }
        else
        {
            Say($"But {other.Called} said no, so {one.Called} kept the {first.Noun} and {other.Called} kept the {second.Noun}.");
        }
        _focus = null;
    }

    private void Storm(Character one, Character other)
    {
        Weather weather = Words.Weathers[Pick(Words.Weathers.Length)];
        Say(PickOne(
            $"That day {weather.Began}, and soon {weather.Effect}.",
            $"In the night {weather.Began}, and in the morning {weather.Effect}."));
        Say(PickOne(
            $"{Capital(Refer(one))} had to walk {weather.During}, and all {one.Pronoun} wanted was {weather.Remedy}.",
            $"\"I cannot go out {weather.During},\" said {one.Called}. \"I need {weather.Remedy}.\"",
            $"{one.Called} and {other.Called} were lost {weather.During}, and they wished for {weather.Remedy}."));
        _focus = null;
        Say(PickOne(
            $"{other.Called} found {weather.Remedy} {other.Home.In}, and they stayed there until it was over.",
            $"They ran {one.Home.To}, where there was {weather.Remedy}.",
            $"The next day it was over, and {one.Called} went home."));
    }

    private void Comparison(Character one, Character other)
    {
        (string plain, string more, string most) = Words.Qualities[Pick(Words.Qualities.Length)];
        Kind third = Words.Animals[Pick(Words.Animals.Length)];
        Say($"\"Who is the {most} of us?\" asked {Article(third.Noun)}.");
        Say($"{one.Called} was {more} than {other.Called}, and {other.Called} was {more} than the {third.Noun}.");
        Say(PickOne(
            $"So {one.Called} was the {most} of all, and the {third.Noun} was not {plain} at all.",
            $"\"Then {one.Name} is the {most},\" said the {third.Noun}."));
        _focus = null;
    }

    private void Week(Character one)
    {
        int start = Pick(Words.Days.Length);
        int count = 2 + Pick(3);
        string[] verbs = ["slept", "worked", "sang", "danced", "fished", "read", "cooked", "rested", "swam"];
        string subject = Refer(one);
        for (int i = 0; i < count; i++)
        {
            string day = Words.Days[(start + i) % Words.Days.Length];
            string verb = verbs[Pick(verbs.Length)];
            Say(i == 0 ? $"On {day} {subject} {verb} {one.Home.In}." : $"On {day} {one.Pronoun} {verb}.");
        }
        string next = Words.Days[(start + count) % Words.Days.Length];
        Say($"And on {next} {one.Pronoun} did nothing at all.");
        _focus = one;
    }

    private void Feast(Character host, Character guest)
    {
        string food = Words.Foods[Pick(Words.Foods.Length)];
        Say(PickOne(
            $"In the evening {Refer(host)} made {food} and called {guest.Called}.",
            $"\"Come and eat {food} with me,\" said {host.Called} to {guest.Called}."));
        Say(PickOne(
            $"{guest.Called} ate the {food} and asked for more {food}.",
            $"{guest.Called} came {host.Home.To}, and they ate {food} together.",
            $"They sat {host.Home.In} and ate {food} until the {food} was gone."));
        Say(PickOne(
            $"\"Your {food} is the best, {host.Name},\" said {guest.Called}.",
            $"\"I like your {food},\" said {guest.Called}, and {host.Called} was proud."));
        _focus = guest;
    }

    private void Ending(Character hero, Character friend)
    {
        Character[] both = [hero, friend];
        foreach (Character one in both)
        {
            if (one.Owned is { } thing && Chance(45))
            {
                Say(PickOne(
                    $"And the {one.ThingAdjective} {thing.Noun}? {Capital(They(thing))} still belonged to {one.Called}.",
                    $"In the end {one.Called} kept the {thing.Noun}."));
            }
        }
        Say(PickOne(
            $"And {hero.Called} and {friend.Called} lived happily ever after.",
            $"From that day on {hero.Called} and {friend.Called} were friends.",
            $"And if {hero.Pronoun} has not gone away, {hero.Called} still lives {hero.Home.In}.",
            $"{hero.Called} lived {hero.Home.In}, {friend.Called} lived {friend.Home.In}, and all was well."));
    }

    private Character Enter(Kind[] kinds)
    {
        Kind kind;
        do
            kind = kinds[Pick(kinds.Length)];
        while (_cast.Exists(c => c.Kind == kind));
        Gender gender = kind.Gender ?? (Chance(50) ? Gender.He : Gender.She);
        string[] names = gender == Gender.He ? Words.MaleNames : Words.FemaleNames;
        string name;
        do
            name = names[Pick(names.Length)];
        while (_cast.Exists(c => c.Name == name));
        Thing thing;
        do
            thing = Words.Things[Pick(Words.Things.Length)];
        while (_cast.Exists(c => c.Owned == thing || c.Second == thing));
        Place home;
        do
            home = Words.Places[Pick(Words.Places.Length)];
        while (_cast.Exists(c => c.Home == home));
        var character = new Character(
            kind, gender, name, home, Words.Virtues[Pick(Words.Virtues.Length)], Words.Ages[Pick(Words.Ages.Length)]);
        character.Own(thing, thing.Adjectives[Pick(thing.Adjectives.Length)]);
        _cast.Add(character);
        return character;
    }

    /// <summary>A pronoun if the reader is sure to know who it is, otherwise the name.</summary>
    private string Refer(Character character) => _focus == character && Chance(75) ? character.Pronoun : character.Called;

    private Place OtherPlace(Place? one, Place? two)
    {
        Place place;
        do
            place = Words.Places[Pick(Words.Places.Length)];
        while (place == one || place == two);
        return place;
    }

    private void Say(string sentence)
    {
        if (_text.Length > 0 && _text[^1] != '\n')
            _text.Append(' ');
        _text.Append(Capital(sentence));
    }

    private void EndParagraph()
    {
        if (_text.Length > 0 && _text[^1] != '\n')
            _text.Append('\n');
        _focus = null;
    }

    private int Pick(int count) => _random.NextInt32(count);

    private string PickOne(params ReadOnlySpan<string> choices) => choices[Pick(choices.Length)];

    private bool Chance(int percent) => _random.NextInt32(100) < percent;

    private static string Capital(string text) =>
        text.Length > 0 && char.IsAsciiLetterLower(text[0]) ? char.ToUpperInvariant(text[0]) + text[1..] : text;

    private static string Article(string word) => ("aeiou".Contains(word[0], StringComparison.Ordinal) ? "an " : "a ") + word;

    private static string It(Thing thing) => thing.IsPlural ? "them" : "it";

    private static string They(Thing thing) => thing.IsPlural ? "they" : "it";

    private static string Was(Thing thing) => thing.IsPlural ? "were" : "was";

    private static string Are(Thing thing) => thing.IsPlural ? "are" : "is";

    private static string This(Thing thing) => thing.IsPlural ? "these" : "this";

    /// <summary>Somebody in a story, and what the world knows about them.</summary>
    private sealed class Character(Kind kind, Gender gender, string name, Place home, string virtue, string adjective)
    {
        public Kind Kind { get; } = kind;

        public string Name { get; } = name;

        public Place Home { get; } = home;

        public string Virtue { get; } = virtue;

        public string Adjective { get; } = adjective;

        public Thing? Owned { get; private set; }

        public string ThingAdjective { get; private set; } = "";

        public Thing? Second { get; set; }

        public string SecondAdjective { get; set; } = "";

        public string Pronoun => gender == Gender.He ? "he" : "she";

        public string PronounUpper => gender == Gender.He ? "He" : "She";

        public string Object => gender == Gender.He ? "him" : "her";

        public string Possessive => gender == Gender.He ? "his" : "her";

        public string PossessiveUpper => gender == Gender.He ? "His" : "Her";

        /// <summary>How others speak of the character after it was introduced: always the same way.</summary>
        public string Called => Kind.Title is { } title ? $"{title} {Name}" : Kind.IsAnimal ? $"{Name} the {Kind.Noun}" : Name;

        public string Described => Owned!.IsPlural
            ? $"{ThingAdjective} {Owned.Noun}"
            : $"{Article(ThingAdjective)} {Owned.Noun}";

        public void Own(Thing thing, string adjective)
        {
            Owned = thing;
            ThingAdjective = adjective;
        }

        public void Lose()
        {
            Owned = Second;
            ThingAdjective = SecondAdjective;
            Second = null;
            SecondAdjective = "";
        }
    }
}
