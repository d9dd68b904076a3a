namespace Corpora;

/// <summary>Writes sentences in English and French at once.</summary>
internal static class SynchronousGrammar
{
    private const int SamplesOfWords = 60_000;

    /// <summary>First, second and third person singular, first and third plural.</summary>
    private enum Person
    {
        I,
        You,
        It,
        We,
        They,
    }

    private sealed record Noun(string English, string Plural, string French, string FrenchPlural, bool Feminine = false, bool IsPerson = false, bool IsAnimal = false)
    {
        public bool IsAlive => IsPerson || IsAnimal;
    }

    /// <summary>An adjective: masculine, feminine and their plurals, the masculine before a vowel, and whether it comes before the noun.</summary>
    private sealed record Adjective(string English, string Masculine, string Feminine, string MasculinePlural, string FemininePlural, bool ComesFirst = false, string? BeforeVowel = null)
    {
        public string Form(bool feminine, bool plural, bool beforeVowel) =>
            plural ? feminine ? FemininePlural : MasculinePlural : feminine ? Feminine : beforeVowel && BeforeVowel is not null ? BeforeVowel : Masculine;
    }

    private sealed record Verb(string English, string ThirdPerson, string[] French, Noun[] Objects);

    /// <summary>A group of words that a sentence speaks of.</summary>
    private sealed record Phrase(string[] English, string[] French, Person Person, bool Feminine, bool IsPerson)
    {
        public bool IsPlural => Person is Person.We or Person.They;

        public int Form => (int)Person;
    }

    private static readonly Noun s_man = new("man", "men", "homme", "hommes", IsPerson: true), s_woman = new("woman", "women", "femme", "femmes", true, true),
        s_boy = new("boy", "boys", "garçon", "garçons", IsPerson: true), s_girl = new("girl", "girls", "fille", "filles", true, true),
        s_king = new("king", "kings", "roi", "rois", IsPerson: true), s_queen = new("queen", "queens", "reine", "reines", true, true),
        s_child = new("child", "children", "enfant", "enfants", IsPerson: true), s_uncle = new("uncle", "uncles", "oncle", "oncles", IsPerson: true),
        s_aunt = new("aunt", "aunts", "tante", "tantes", true, true),
        s_cat = new("cat", "cats", "chat", "chats", IsAnimal: true), s_dog = new("dog", "dogs", "chien", "chiens", IsAnimal: true),
        s_bird = new("bird", "birds", "oiseau", "oiseaux", IsAnimal: true), s_horse = new("horse", "horses", "cheval", "chevaux", IsAnimal: true),
        s_cow = new("cow", "cows", "vache", "vaches", true, IsAnimal: true),
        s_house = new("house", "houses", "maison", "maisons", true), s_car = new("car", "cars", "voiture", "voitures", true), s_book = new("book", "books", "livre", "livres"),
        s_apple = new("apple", "apples", "pomme", "pommes", true), s_tree = new("tree", "trees", "arbre", "arbres"), s_school = new("school", "schools", "école", "écoles", true),
        s_letter = new("letter", "letters", "lettre", "lettres", true), s_garden = new("garden", "gardens", "jardin", "jardins"), s_cake = new("cake", "cakes", "gâteau", "gâteaux"),
        s_newspaper = new("newspaper", "newspapers", "journal", "journaux"), s_flower = new("flower", "flowers", "fleur", "fleurs", true), s_river = new("river", "rivers", "rivière", "rivières", true);

    private static readonly Noun[] s_people = [s_man, s_woman, s_boy, s_girl, s_king, s_queen, s_child, s_uncle, s_aunt];
    private static readonly Noun[] s_animals = [s_cat, s_dog, s_bird, s_horse, s_cow];
    private static readonly Noun[] s_living = [.. s_people, .. s_animals];
    private static readonly Noun[] s_things = [s_house, s_car, s_book, s_apple, s_tree, s_letter, s_garden, s_cake, s_newspaper, s_flower];
    private static readonly Noun[] s_all = [.. s_living, .. s_things];
    private static readonly Noun[] s_places = [s_house, s_school, s_garden, s_river, s_tree];

    private static readonly Adjective[] s_adjectives =
    [
        new("big", "grand", "grande", "grands", "grandes", true), new("small", "petit", "petite", "petits", "petites", true),
        new("old", "vieux", "vieille", "vieux", "vieilles", true, "vieil"), new("beautiful", "beau", "belle", "beaux", "belles", true, "bel"),
        new("new", "nouveau", "nouvelle", "nouveaux", "nouvelles", true, "nouvel"), new("pretty", "joli", "jolie", "jolis", "jolies", true),
        new("red", "rouge", "rouge", "rouges", "rouges"), new("black", "noir", "noire", "noirs", "noires"), new("white", "blanc", "blanche", "blancs", "blanches"),
        new("green", "vert", "verte", "verts", "vertes"), new("strange", "étrange", "étrange", "étranges", "étranges"), new("heavy", "lourd", "lourde", "lourds", "lourdes"),
    ];

    /// <summary>What only somebody alive is.</summary>
    private static readonly Adjective[] s_moods =
    [
        new("tired", "fatigué", "fatiguée", "fatigués", "fatiguées"), new("happy", "heureux", "heureuse", "heureux", "heureuses"), new("sad", "triste", "triste", "tristes", "tristes"),
        new("strong", "fort", "forte", "forts", "fortes"), new("rich", "riche", "riche", "riches", "riches"), new("intelligent", "intelligent", "intelligente", "intelligents", "intelligentes"),
    ];

    private static readonly Adjective[] s_professions =
    [
        new("student", "étudiant", "étudiante", "étudiants", "étudiantes"), new("baker", "boulanger", "boulangère", "boulangers", "boulangères"),
        new("farmer", "fermier", "fermière", "fermiers", "fermières"), new("singer", "chanteur", "chanteuse", "chanteurs", "chanteuses"), new("actor", "acteur", "actrice", "acteurs", "actrices"),
    ];

    private static readonly string[] s_be = ["am", "are", "is", "are", "are"];
    private static readonly string[] s_etre = ["suis", "es", "est", "sommes", "sont"];

    private static readonly Verb[] s_transitive =
    [
        new("have", "has", ["ai", "as", "a", "avons", "ont"], s_all), new("see", "sees", ["vois", "vois", "voit", "voyons", "voient"], s_all),
        new("love", "loves", ["aime", "aimes", "aime", "aimons", "aiment"], s_all), new("find", "finds", ["trouve", "trouves", "trouve", "trouvons", "trouvent"], s_all),
        new("want", "wants", ["veux", "veux", "veut", "voulons", "veulent"], s_all), new("hear", "hears", ["entends", "entends", "entend", "entendons", "entendent"], s_living),
        new("eat", "eats", ["mange", "manges", "mange", "mangeons", "mangent"], [s_apple, s_cake]), new("read", "reads", ["lis", "lis", "lit", "lisons", "lisent"], [s_book, s_letter, s_newspaper]),
        new("buy", "buys", ["achète", "achètes", "achète", "achetons", "achètent"], s_things), new("sell", "sells", ["vends", "vends", "vend", "vendons", "vendent"], s_things),
    ];

    private static readonly Verb[] s_intransitive =
    [
        new("sleep", "sleeps", ["dors", "dors", "dort", "dormons", "dorment"], []), new("work", "works", ["travaille", "travailles", "travaille", "travaillons", "travaillent"], []),
        new("sing", "sings", ["chante", "chantes", "chante", "chantons", "chantent"], []), new("arrive", "arrives", ["arrive", "arrives", "arrive", "arrivons", "arrivent"], []),
        new("walk", "walks", ["marche", "marches", "marche", "marchons", "marchent"], []),
    ];

    private static readonly (string English, string French)[] s_adverbs = [("often", "souvent"), ("always", "toujours"), ("really", "vraiment")];

    private static readonly (string English, string French)[] s_prepositions = [("in", "dans"), ("behind", "derrière"), ("near", "près de"), ("in front of", "devant")];

    private static readonly Phrase[] s_pronouns =
    [
        new(["i"], ["je"], Person.I, false, true), new(["you"], ["tu"], Person.You, false, true), new(["he"], ["il"], Person.It, false, true), new(["she"], ["elle"], Person.It, true, true),
        new(["we"], ["nous"], Person.We, false, true), new(["they"], ["ils"], Person.They, false, true),
    ];

    private static readonly (string English, string French, Person Person)[] s_objects =
        [("me", "me", Person.I), ("you", "te", Person.You), ("him", "le", Person.It), ("her", "la", Person.It), ("us", "nous", Person.We), ("them", "les", Person.They)];

    private static readonly (string English, string Masculine, string Feminine, string Plural)[] s_possessives =
        [("my", "mon", "ma", "mes"), ("your", "ton", "ta", "tes"), ("his", "son", "sa", "ses"), ("her", "son", "sa", "ses"), ("our", "notre", "notre", "nos"), ("their", "leur", "leur", "leurs")];

    /// <summary>All words of one language, from many sentences.</summary>
    public static IReadOnlyList<string> Words(Func<SentencePair, IReadOnlyList<string>> of)
    {
        var draw = new Draw(1);
        var words = new SortedSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < SamplesOfWords; i++)
            words.UnionWith(of(Sentence(draw)));
        return [.. words];
    }

    public static SentencePair Sentence(Draw draw)
    {
        bool negative = draw.Chance(30), question = draw.Chance(12);
        Phrase subject = Subject(draw);
        (string English, string French)? adverb = draw.Chance(20) ? draw.One(s_adverbs) : null;
        List<string> english = [], french = [];
        switch (draw.Below(10))
        {
            case 0 or 1:
                BeSomething(english, french, subject, Quality(draw, subject), negative, question, adverb);
                break;
            case 2 when subject.IsPerson:
                Adjective profession = draw.One(s_professions);
                string[] name = subject.IsPlural ? [profession.English + "s"] : [profession.English.StartsWith('a') ? "an" : "a", profession.English];
                BeSomething(english, french, subject, (name, [profession.Form(subject.Feminine, subject.IsPlural, false)]), negative, question, adverb);
                break;
            case 3 or 4:
                Verb intransitive = draw.One(s_intransitive);
                Do(english, french, subject, intransitive, null, draw.Chance(60) ? Place(draw) : ([], []), negative, question, adverb);
                break;
            case 5 or 6:
                Verb seen = draw.One(s_transitive[1..6]);
                (string English, string French, Person Person) it;
                do
                    it = draw.One(s_objects);
                while (it.Person == subject.Person && it.Person is Person.I or Person.You or Person.We);
                Do(english, french, subject, seen, (it.English, it.French), ([], []), negative, question, adverb);
                break;
            default:
                Verb verb = draw.One(s_transitive);
                Phrase thing = Group(draw, verb.Objects, negated: negative, depth: 0);
                Do(english, french, subject, verb, null, (thing.English, thing.French), negative, question, adverb);
                break;
        }
        return new SentencePair(english, Elide(french));
    }

    private static (string[] English, string[] French) Quality(Draw draw, Phrase subject)
    {
        Adjective adjective = subject.IsPerson || draw.Chance(50) ? draw.One(s_moods) : draw.One(s_adjectives);
        return ([adjective.English], [adjective.Form(subject.Feminine, subject.IsPlural, false)]);
    }

    private static (string[] English, string[] French) Place(Draw draw)
    {
        (string english, string french) = draw.One(s_prepositions);
        Phrase place = Group(draw, s_places, negated: false, depth: 1);
        return ([.. english.Split(' '), .. place.English], Join(french.Split(' '), place.French));
    }

    private static void BeSomething(
        List<string> english, List<string> french, Phrase subject, (string[] English, string[] French) what, bool negative, bool question, (string English, string French)? adverb)
    {
        string be = s_be[subject.Form];
        english.AddRange(question ? [be, .. subject.English] : [.. subject.English, be]);
        if (negative)
            english.Add("not");
        if (adverb is { } often)
            english.Add(often.English);
        english.AddRange(what.English);
        french.AddRange(question ? ["est-ce", "que"] : []);
        french.AddRange(subject.French);
        french.AddRange(negative ? ["ne", s_etre[subject.Form], "pas"] : [s_etre[subject.Form]]);
        if (adverb is { } souvent)
            french.Add(souvent.French);
        french.AddRange(what.French);
        english.Add(question ? "?" : ".");
        french.Add(question ? "?" : ".");
    }

    private static void Do(
        List<string> english, List<string> french, Phrase subject, Verb verb, (string English, string French)? pronoun, (string[] English, string[] French) what, bool negative, bool question,
        (string English, string French)? adverb)
    {
        bool third = subject.Person == Person.It;
        string helper = third ? "does" : "do";
        if (question)
            english.Add(helper);
        english.AddRange(subject.English);
        if (negative)
            english.AddRange(question ? ["not"] : [helper, "not"]);
        if (adverb is { } often)
            english.Add(often.English);
        english.Add(third && !negative && !question ? verb.ThirdPerson : verb.English);
        if (pronoun is { } him)
            english.Add(him.English);
        english.AddRange(what.English);
        french.AddRange(question ? ["est-ce", "que"] : []);
        french.AddRange(subject.French);
        if (negative)
            french.Add("ne");
        if (pronoun is { } le)
            french.Add(le.French);
        french.Add(verb.French[subject.Form]);
        if (negative)
            french.Add("pas");
        if (adverb is { } souvent)
            french.Add(souvent.French);
        french.AddRange(what.French);
        english.Add(question ? "?" : ".");
        french.Add(question ? "?" : ".");
    }

    private static Phrase Subject(Draw draw)
    {
        if (draw.Chance(50))
            return draw.One(s_pronouns);
        Phrase one = Group(draw, s_living, negated: false, depth: 0);
        if (!draw.Chance(12))
            return one;
        Phrase other = Group(draw, s_people, negated: false, depth: 1);
        return new Phrase(
            [.. one.English, "and", .. other.English], [.. one.French, "et", .. other.French], Person.They, one.Feminine && other.Feminine, one.IsPerson && other.IsPerson);
    }

    /// <summary>A noun with what belongs to it.</summary>
    /// <param name="draw">The choices.</param>
    /// <param name="nouns">The nouns to choose from.</param>
    /// <param name="negated">Whether it is the object of a negated verb: "a" and "some" are then "de".</param>
    /// <param name="depth">An owner has no owner.</param>
    private static Phrase Group(Draw draw, Noun[] nouns, bool negated, int depth)
    {
        Noun noun = draw.One(nouns);
        bool plural = draw.Chance(30);
        Adjective? adjective = draw.Chance(35) ? draw.One(noun.IsAlive && draw.Chance(30) ? s_moods : s_adjectives) : null;

        // The noun and its adjective, in their orders; the determiner's form depends on the first French word.
        string[] name = [.. adjective is null ? Array.Empty<string>() : [adjective.English], plural ? noun.Plural : noun.English];
        string nom = plural ? noun.FrenchPlural : noun.French;
        string[] words = adjective is null ? [nom]
            : adjective.ComesFirst ? [adjective.Form(noun.Feminine, plural, StartsWithVowel(nom)), nom]
            : [nom, adjective.Form(noun.Feminine, plural, false)];
        bool vowel = StartsWithVowel(words[0]);
        Person person = plural ? Person.They : Person.It;
        Phrase With(string[] english, string[] french) => new([.. english, .. name], [.. french, .. words], person, noun.Feminine, noun.IsPerson);

        switch (draw.Below(depth == 0 ? 9 : 7))
        {
            case 0 or 1 or 2:
                return With(["the"], [plural ? "les" : noun.Feminine ? "la" : "le"]);
            case 3:
                if (plural)
                    return With(["some"], [negated || (adjective is { ComesFirst: true }) ? "de" : "des"]);
                string article = "aeiou".Contains(name[0][0], StringComparison.Ordinal) ? "an" : "a";
                return With([article], [negated ? "de" : noun.Feminine ? "une" : "un"]);
            case 4:
                return With([plural ? "these" : "this"], [plural ? "ces" : noun.Feminine ? "cette" : vowel ? "cet" : "ce"]);
            case 7 or 8:
                // "The king 's cat", "the kings ' cat": the owner comes first, and in French last.
                Phrase owner = Group(draw, s_people, negated: false, depth: 1);
                string mark = owner.English[^1].EndsWith('s') ? "'" : "'s";
                return new Phrase(
                    [.. owner.English, mark, .. name], Join([plural ? "les" : noun.Feminine ? "la" : "le", .. words, "de"], owner.French), person, noun.Feminine, noun.IsPerson);
            default:
                (string english, string masculine, string feminine, string several) = draw.One(s_possessives);
                return With([english], [plural ? several : noun.Feminine && !vowel ? feminine : masculine]);
        }
    }

    /// <summary>Puts words behind others, the last of which may be "de": it grows together with "le" and "les", and "des" and "de" are lost in it.</summary>
    private static string[] Join(string[] first, string[] second)
    {
        if (first[^1] != "de")
            return [.. first, .. second];
        return second[0] switch
        {
            "le" when !StartsWithVowel(second[1]) => [.. first[..^1], "du", .. second[1..]],
            "les" => [.. first[..^1], "des", .. second[1..]],
            "des" or "de" => [.. first, .. second[1..]],
            _ => [.. first, .. second],
        };
    }

    private static List<string> Elide(List<string> words)
    {
        var result = new List<string>(words);
        for (int i = 0; i + 1 < result.Count; i++)
        {
            if (result[i] is "je" or "ne" or "le" or "la" or "de" or "me" or "te" or "que" && StartsWithVowel(result[i + 1]))
                result[i] = result[i][..^1] + "'";
        }
        return result;
    }

    /// <summary>Every h of this vocabulary is mute.</summary>
    private static bool StartsWithVowel(string word) => "aâeéèêiouh".Contains(word[0], StringComparison.Ordinal);
}
