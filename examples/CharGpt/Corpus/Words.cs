namespace CharGpt.Corpus;

internal enum Gender
{
    He,
    She,
}

/// <summary>What a character is: its noun, and the gender it is limited to, if any.</summary>
internal sealed record Kind(string Noun, string Plural, Gender? Gender, bool IsAnimal = false, string? Title = null, string Sound = "");

/// <summary>A thing that can be owned. Plural things take "were" and "them".</summary>
internal sealed record Thing(string Noun, bool IsPlural, string[] Adjectives, string Use);

/// <summary>A place with the preposition that goes with it.</summary>
internal sealed record Place(string Preposition, string Noun)
{
    public string In => $"{Preposition} the {Noun}";

    public string To => $"to the {Noun}";

    public string From => $"from the {Noun}";
}

/// <summary>A kind of weather, and what follows from it.</summary>
internal sealed record Weather(string Began, string During, string Effect, string Remedy);

/// <summary>The vocabulary of the stories.</summary>
internal static class Words
{
    public static readonly Kind[] Royals =
    [
        new("king", "kings", Gender.He, Title: "King"),
        new("queen", "queens", Gender.She, Title: "Queen"),
        new("prince", "princes", Gender.He, Title: "Prince"),
        new("princess", "princesses", Gender.She, Title: "Princess"),
    ];

    public static readonly Kind[] Commoners =
    [
        new("miller", "millers", null), new("baker", "bakers", null), new("shepherd", "shepherds", null),
        new("knight", "knights", Gender.He), new("witch", "witches", Gender.She), new("farmer", "farmers", null),
        new("sailor", "sailors", Gender.He), new("girl", "girls", Gender.She), new("boy", "boys", Gender.He),
        new("grandmother", "grandmothers", Gender.She), new("weaver", "weavers", null), new("blacksmith", "blacksmiths", null),
    ];

    public static readonly Kind[] Animals =
    [
        new("fox", "foxes", null, true, null, "Yip"), new("wolf", "wolves", null, true, null, "Howl"),
        new("bear", "bears", null, true, null, "Grr"), new("owl", "owls", null, true, null, "Hoo"),
        new("hare", "hares", null, true, null, "Thump"), new("cat", "cats", null, true, null, "Meow"),
        new("goat", "goats", null, true, null, "Baa"), new("raven", "ravens", null, true, null, "Caw"),
        new("mouse", "mice", null, true, null, "Squeak"), new("frog", "frogs", null, true, null, "Croak"),
        new("goose", "geese", null, true, null, "Honk"), new("donkey", "donkeys", null, true, null, "Hee-haw"),
    ];

    public static readonly string[] MaleNames =
    [
        "Aldric", "Bruno", "Casper", "Edmund", "Falk", "Gregor", "Hugo", "Ivo", "Jasper", "Konrad", "Leo", "Martin", "Otto", "Rowan",
        "Tobias", "Victor",
    ];

    public static readonly string[] FemaleNames =
    [
        "Agnes", "Beatrice", "Clara", "Dora", "Edith", "Flora", "Greta", "Hilda", "Isolde", "Johanna", "Lucy", "Marta", "Nora", "Rosa",
        "Sophie", "Wilma",
    ];

    public static readonly Thing[] Things =
    [
        new("crown", false, ["golden", "heavy", "silver"], "wore"), new("ring", false, ["silver", "golden", "tiny"], "wore"),
        new("lantern", false, ["iron", "bright", "old"], "lit"), new("key", false, ["iron", "rusty", "golden"], "used"),
        new("cloak", false, ["red", "warm", "blue"], "wore"), new("horn", false, ["silver", "old", "loud"], "blew"),
        new("map", false, ["old", "secret", "torn"], "read"), new("harp", false, ["golden", "wooden", "old"], "played"),
        new("sword", false, ["sharp", "heavy", "ancient"], "carried"), new("mirror", false, ["round", "silver", "magic"], "polished"),
        new("basket", false, ["empty", "wide", "yellow"], "carried"), new("drum", false, ["red", "loud", "old"], "played"),
        new("book", false, ["thick", "old", "green"], "read"), new("boots", true, ["black", "old", "warm"], "wore"),
        new("gloves", true, ["white", "warm", "soft"], "wore"), new("apples", true, ["red", "sweet", "green"], "counted"),
        new("coins", true, ["golden", "old", "shiny"], "counted"), new("bells", true, ["silver", "tiny", "old"], "rang"),
    ];

    public static readonly Place[] Places =
    [
        new("in", "castle"), new("in", "forest"), new("at", "mill"), new("at", "market"), new("by", "river"), new("on", "mountain"),
        new("in", "village"), new("under", "bridge"), new("at", "harbour"), new("in", "tower"), new("in", "garden"), new("in", "cave"),
        new("on", "island"), new("behind", "barn"),
    ];

    public static readonly Weather[] Weathers =
    [
        new("it began to rain", "in the rain", "the road was muddy", "a dry roof"),
        new("it began to snow", "in the snow", "the road was white", "a warm fire"),
        new("the wind began to blow", "in the wind", "the trees were bent", "a strong wall"),
        new("a thick fog came down", "in the fog", "the road was hidden", "a bright light"),
        new("the sun began to burn", "in the heat", "the road was dusty", "a cool drink"),
        new("thunder began to roll", "in the storm", "the sky was black", "a safe cellar"),
    ];

    public static readonly string[] Virtues = ["kind", "brave", "clever", "patient", "honest", "gentle", "proud", "merry", "quiet", "stubborn"];

    public static readonly string[] Ages = ["old", "young", "small", "tall", "lonely", "famous"];

    public static readonly string[] Days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

    public static readonly string[] Numbers = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

    public static readonly string[] Foods = ["bread", "soup", "honey", "cheese", "porridge", "cake", "nut bread", "plum pie"];

    // Adjective, comparative and superlative of the same quality.
    public static readonly (string Plain, string More, string Most)[] Qualities =
    [
        ("strong", "stronger", "strongest"), ("fast", "faster", "fastest"), ("wise", "wiser", "wisest"), ("brave", "braver", "bravest"),
        ("quiet", "quieter", "quietest"), ("old", "older", "oldest"),
    ];
}
