namespace Corpora;

/// <summary>Somebody in the stories: the noun, its plural and the pronoun that goes with it.</summary>
internal sealed record Role(string Noun, string Plural, string Pronoun)
{
    public string ObjectPronoun => Pronoun switch { "he" => "him", "she" => "her", _ => "it" };

    public string Possessive => Pronoun switch { "he" => "his", "she" => "her", _ => "its" };
}

/// <summary>
/// What those of a realm do: a verb with its infinitive and participle, what it is done to, if anything, and where, if that belongs to it. Objects and places are
/// templates: words with tags, <c>[a|b]/J</c> for a choice.
/// </summary>
internal sealed record Deed(string Past, string Infinitive, string Participle, string Object, string Place)
{
    public bool HasObject => Object.Length > 0;

    public bool ObjectIsPlural { get; init; }
}

/// <summary>A walk of life: who leads it, what they are like, what they do, own and live in.</summary>
internal sealed record Realm(string Name, Role[] Roles, string[] Adjectives, Deed[] Deeds, string[] Homes, string[] Things);

/// <summary>The world of the stories. Realms share no noun and no deed: who does what can be learned, and got wrong.</summary>
internal static class StoryWorld
{
    public static readonly Realm Court = new(
        "court",
        [
            new("king", "kings", "he"), new("queen", "queens", "she"), new("prince", "princes", "he"), new("princess", "princesses", "she"),
            new("duke", "dukes", "he"), new("duchess", "duchesses", "she"), new("emperor", "emperors", "he"), new("empress", "empresses", "she"),
        ],
        ["noble", "proud", "wise", "rich", "old", "young", "brave", "happy", "sad"],
        [
            new("sat", "sit", "", "", "on/P the/D [|golden/J|high/J|marble/J] throne/N"),
            new("sat", "sit", "", "", "on/P the/D throne/N [in/P the/D [great|marble]/J hall/N|in/P the/D [castle|palace]/N]"),
            new("wore", "wear", "worn", "the/D [golden|silver|heavy|royal]/J [crown|robe|ring]/N", "[|in/P the/D [great|marble]/J hall/N|at/P the/D ball/N]"),
            new("ruled", "rule", "ruled", "the/D [|whole/J|rich/J] [kingdom|country]/N", "[|from/P the/D [castle|palace|tower]/N]"),
            new("danced", "dance", "", "", "at/P the/D [|royal/J|great/J] ball/N"),
            new("rode", "ride", "", "", "to/P the/D [palace|castle|court]/N in/P a/D [golden|royal|silver]/J carriage/N"),
            new("signed", "sign", "signed", "the/D [|new/J|royal/J|old/J] law/N", "[|in/P the/D [great|marble]/J hall/N|in/P the/D [palace|tower]/N]"),
            new("held", "hold", "held", "the/D [golden|silver|royal]/J [sceptre|sword|cup]/N", "[|in/P the/D [great|marble]/J hall/N|at/P the/D court/N]"),
            new("gave", "give", "given", "the/D [|royal/J|great/J] feast/N", "in/P the/D [castle|palace|great/J hall]/N"),
            new("commanded", "command", "commanded", "the/D [|royal/J|brave/J] knights/N", "[|from/P the/D [castle|tower]/N|at/P the/D court/N]") { ObjectIsPlural = true },
        ],
        ["in/P the/D castle/N", "in/P the/D palace/N", "in/P the/D tower/N"],
        ["crown", "ring", "robe", "sceptre", "mirror", "harp"]);

    public static readonly Realm Wild = new(
        "wild",
        [
            new("armadillo", "armadillos", "it"), new("fox", "foxes", "it"), new("wolf", "wolves", "it"), new("hare", "hares", "it"), new("badger", "badgers", "it"),
            new("hedgehog", "hedgehogs", "it"), new("otter", "otters", "it"), new("squirrel", "squirrels", "it"),
        ],
        ["hungry", "timid", "quick", "wild", "brown", "old", "young", "brave", "happy", "sad"],
        [
            new("slept", "sleep", "", "", "in/P the/D [|deep/J|dark/J|warm/J] [burrow|den|nest]/N"),
            new("dug", "dig", "dug", "the/D [|deep/J|dark/J] [hole|burrow|den]/N", "[|under/P the/D [old/J|tall/J|] [oak|log|bush]/N|in/P the/D forest/N]"),
            new("ate", "eat", "eaten", "the/D [|small/J|black/J|sweet/J] [ants|beetles|berries|acorns]/N", "[|under/P the/D [oak|log|bush]/N|in/P the/D forest/N]") { ObjectIsPlural = true },
            new("hid", "hide", "", "", "[under/P the/D [old/J|tall/J|] [oak|log|bush]/N|in/P the/D [tall|wet]/J grass/N]"),
            new("sniffed", "sniff", "sniffed", "the/D [|old/J|wet/J] [roots|leaves]/N", "[|in/P the/D forest/N|under/P the/D [oak|log|bush]/N]") { ObjectIsPlural = true },
            new("hunted", "hunt", "", "", "in/P the/D [|dark/J|deep/J] forest/N [|at/P night/N]"),
            new("curled", "curl", "", "", "up/R in/P the/D [dry|soft|warm]/J leaves/N"),
            new("scratched", "scratch", "scratched", "the/D [|old/J|soft/J] [bark|moss]/N", "[|of/P the/D [oak|log|bush]/N|in/P the/D forest/N]"),
            new("drank", "drink", "", "", "[from/P the/D [|cold/J|clear/J] [pond|stream]/N|at/P the/D [pond|stream]/N at/P night/N]"),
        ],
        ["in/P the/D burrow/N", "in/P the/D den/N", "in/P the/D nest/N"],
        ["nut", "bone", "feather", "shell", "acorn"]);

    public static readonly Realm Farm = new(
        "farm",
        [
            new("farmer", "farmers", "he"), new("shepherd", "shepherds", "he"), new("miller", "millers", "he"), new("gardener", "gardeners", "he"),
            new("milkmaid", "milkmaids", "she"), new("weaver", "weavers", "she"), new("baker", "bakers", "he"), new("grandmother", "grandmothers", "she"),
        ],
        ["honest", "poor", "strong", "tired", "busy", "old", "young", "brave", "happy", "sad"],
        [
            new("ploughed", "plough", "ploughed", "the/D [|wide/J|dry/J|green/J] field/N", "[|behind/P the/D [barn|mill]/N|with/P the/D [strong|white]/J [horse|ox]/N]"),
            new("milked", "milk", "milked", "the/D [|white/J|fat/J|lazy/J] [cow|goat]/N", "[|in/P the/D [barn|stable]/N|behind/P the/D mill/N]"),
            new("worked", "work", "", "", "in/P the/D [barn|mill|stable|garden|kitchen]/N [|all/D day/N]"),
            new("harvested", "harvest", "harvested", "the/D [|ripe/J|yellow/J] [wheat|corn|barley]/N", "[|behind/P the/D [barn|mill]/N|in/P the/D [wide|green]/J field/N]"),
            new("fed", "feed", "fed", "the/D [|fat/J|white/J|lazy/J] [pigs|hens|sheep]/N", "[|in/P the/D [barn|stable]/N|behind/P the/D mill/N]") { ObjectIsPlural = true },
            new("baked", "bake", "baked", "the/D [|warm/J|fresh/J|brown/J] [bread|pie|cake]/N", "[|in/P the/D [kitchen|cottage]/N|for/P the/D village/N]"),
            new("planted", "plant", "planted", "the/D [|young/J|green/J] [trees|beans|carrots]/N", "[|in/P the/D garden/N|behind/P the/D [barn|cottage]/N]") { ObjectIsPlural = true },
            new("went", "go", "", "", "to/P the/D [market|village]/N with/P the/D [white|fat|lazy]/J [cow|goat|horse]/N"),
            new("mended", "mend", "mended", "the/D [|old/J|broken/J|wooden/J] [fence|cart|roof]/N", "[|behind/P the/D [barn|cottage]/N|with/P the/D hammer/N]"),
        ],
        ["in/P the/D cottage/N", "in/P the/D mill/N", "in/P the/D village/N"],
        ["hammer", "basket", "saw", "lantern", "spade", "cloak"]);

    public static readonly Realm Sea = new(
        "sea",
        [
            new("sailor", "sailors", "he"), new("captain", "captains", "he"), new("fisherman", "fishermen", "he"), new("pirate", "pirates", "she"),
            new("diver", "divers", "she"), new("pilot", "pilots", "she"),
        ],
        ["bold", "restless", "cheerful", "weathered", "clever", "old", "young", "brave", "happy", "sad"],
        [
            new("sailed", "sail", "", "", "to/P the/D [|far/J|green/J|lonely/J] [island|coast]/N [|in/P the/D [storm|fog]/N]"),
            new("steered", "steer", "steered", "the/D [|small/J|old/J|fast/J] [ship|boat]/N", "[|into/P the/D harbour/N|round/P the/D [island|rock|lighthouse]/N]"),
            new("caught", "catch", "caught", "the/D [|big/J|silver/J] [fish|eel|crab]/N", "[|in/P the/D [harbour|bay]/N|near/P the/D [island|rock|lighthouse]/N]"),
            new("stood", "stand", "", "", "on/P the/D [|wet/J|old/J] deck/N [|in/P the/D [storm|fog]/N]"),
            new("pulled", "pull", "pulled", "the/D [|heavy/J|wet/J] [net|rope|anchor]/N", "[|on/P the/D deck/N|into/P the/D boat/N]"),
            new("painted", "paint", "painted", "the/D [|old/J|small/J|fast/J] [boat|mast|ship]/N", "[|in/P the/D [harbour|bay]/N]"),
            new("swam", "swim", "", "", "[round/P the/D [|old/J|small/J] [boat|rock|ship]/N|to/P the/D [|far/J|lonely/J] [island|coast]/N]"),
            new("loaded", "load", "loaded", "the/D [|heavy/J|full/J] [barrels|chests]/N", "[|on/P the/D [ship|boat|deck]/N|in/P the/D harbour/N]") { ObjectIsPlural = true },
        ],
        ["in/P the/D harbour/N", "on/P the/D ship/N", "in/P the/D lighthouse/N"],
        ["compass", "map", "telescope", "whistle", "pearl"]);

    public static readonly Realm[] Realms = [Court, Wild, Farm, Sea];

    /// <summary>What anybody does to anybody.</summary>
    public static readonly Deed[] Meetings =
    [
        new("saw", "see", "seen", "", ""), new("followed", "follow", "followed", "", ""), new("watched", "watch", "watched", "", ""), new("found", "find", "found", "", ""),
        new("helped", "help", "helped", "", ""), new("heard", "hear", "heard", "", ""), new("feared", "fear", "feared", "", ""), new("visited", "visit", "visited", "", ""),
    ];

    public static readonly string[] Grounds = ["on/P the/D [|narrow/J|dusty/J] road/N", "near/P the/D [|old/J|wide/J] river/N", "on/P the/D [|old/J|high/J] bridge/N", "behind/P the/D [|green/J|high/J] hill/N"];

    public static readonly string[] MaleNames = ["aldric", "bruno", "casper", "edmund", "falk", "gregor", "hugo", "jasper", "konrad", "leo", "otto", "victor"];

    public static readonly string[] FemaleNames = ["agnes", "beatrice", "clara", "dora", "edith", "flora", "greta", "hilda", "johanna", "lucy", "nora", "sophie"];

    public static readonly string[] AnimalNames = ["bramble", "clover", "dusty", "hazel", "pepper", "rusty", "shadow", "smoky", "thistle", "whisper"];

    public static readonly string[] ThingAdjectives = ["small", "old", "heavy", "light", "round", "lost", "fine", "strange"];

    public static readonly string[] Numbers = ["two", "three", "four", "five", "six", "seven"];
}
