namespace Corpora;

/// <summary>
/// Writes one story. Sentences are drawn until they belong to the part that the story belongs to; a story of the training part that needs a sentence of which all
/// variants are held out is given up.
/// </summary>
internal sealed class StoryWriter
{
    /// <summary>How often a sentence is tried for; those of few variants may have none of the right part.</summary>
    private const int Attempts = 40;

    private readonly Draw _draw;
    private readonly bool _heldOut;
    private readonly List<TaggedSentence> _sentences = [];
    private readonly Realm _realm;
    private readonly Role _hero;
    private readonly string _name;
    private readonly string _adjective;
    private readonly string _home;
    private readonly string _thing;
    private readonly string _thingAdjective;
    private bool _impossible;

    private StoryWriter(Draw draw, bool heldOut)
    {
        _draw = draw;
        _heldOut = heldOut;
        _realm = draw.One(StoryWorld.Realms);
        _hero = draw.One(_realm.Roles);
        _name = draw.One(_hero.Pronoun switch { "he" => StoryWorld.MaleNames, "she" => StoryWorld.FemaleNames, _ => StoryWorld.AnimalNames });
        _adjective = draw.One(_realm.Adjectives);
        _home = draw.One(_realm.Homes);
        _thing = draw.One(_realm.Things);
        _thingAdjective = draw.One(StoryWorld.ThingAdjectives);
    }

    private string He => $"{_hero.Pronoun}/O";

    private string His => $"{_hero.Possessive}/D";

    private string Name => $"{_name}/M";

    private string Home => _home[(_home.IndexOf(' ', StringComparison.Ordinal) + 1)..];

    /// <summary>A story of its own, drawn from the same numbers for the same draw.</summary>
    public static Story Write(Draw draw, bool heldOut)
    {
        while (true)
        {
            if (new StoryWriter(draw, heldOut).TryWrite() is { } story)
                return story;
        }
    }

    private Story? TryWrite()
    {
        Say($"[once/R there/O was/V|once/R there/O lived/V|long/R ago/R there/O was/V] a/D {_adjective}/J {_hero.Noun}/N named/V {Name}");
        Say($"[{He}|{Name}|the/D {_adjective}/J {_hero.Noun}/N] lived/V {_home} [|with/P a/D [small|quiet|noisy|large|strange]/J [family|friend]/N|and/C [slept|worked|sang|cooked]/V well/R|all/D [year|day|summer|winter]/N]");
        Say($"{He} had/V a/D {_thingAdjective}/J {_thing}/N [|that/O was/X very/R [fine|old|dear|light|fast|useful]/J|and/C [loved|kept|liked]/V it/O well/R|and/C a/D [small|old|big]/J [dog|bird|book|watch]/N]");
        int middle = 2 + _draw.Below(3);
        for (int i = 0; i < middle; i++)
            Say(Middle);
        if (_draw.Chance(75))
            Lose();
        Say($"[in/P the/D evening/N|at/P night/N|then/R|at/P last/R] [{He}|{Name}] [went/V back/R|came/V back/R|returned/V|walked/V back/R] to/P {Home} [|with/P {His} {_thing}/N|and/C [slept|sang|rested|laughed|smiled]/V]");
        return _impossible ? null : new Story(_sentences);
    }

    /// <summary>What the hero does, and what happens around him: most of it the deeds of his own realm.</summary>
    private string Middle() => _draw.Below(20) switch
    {
        < 8 => About(_hero, Subject(), _realm),
        8 or 9 => Other(),
        10 or 11 => Meeting(),
        12 => $"[the/D {_hero.Noun}/N|{Name}] [said|knew|heard|thought]/V that/S {About(null, "", Elsewhere())}",
        13 => $"[the/D|that/D] {_hero.Noun}/N [wanted|liked|loved|hoped]/V to/T [rest|watch|dance|hunt|work|fish|walk|plant]/V [near/P the/D [wide|old]/J river/N|on/P the/D [narrow|dusty]/J road/N|behind/P the/D [green|high]/J hill/N|in/P the/D [rain|sun|wind]/N]",
        14 => Owner(),
        15 => $"{Name} [ran|walked|swam|worked|sang|danced]/V [well|fast|back|all/D day]/R [because/S|and/C then/R|but/C still/R] the/D [light|watch|dance|hunt|work|walk|rest|rose|well|plant]/N was/X [near|old|light|round|left|fast|good]/J",
        16 => $"the/D [light|watch|dance|hunt|work|rest]/N of/P the/D [day|night|week|summer]/N [was/X [light|round|fast|good|strange]/J|left/V {_hero.ObjectPronoun}/O [tired|happy|sad]/J]",
        17 => $"{Name} and/C {Somebody(out _)} [went|walked|ran|rode]/V round/P the/D [hill|lake|well|village]/N [|and/C left/V the/D [old|left|round]/J road/N]",
        18 => $"[when/S|because/S] {He} was/X [tired|hungry|cold|alone]/J {Name} [rose/V [|fast/R] and/C left/V|looked/V for/P a/D warm/J [fire|light|place]/N]",
        _ => $"[the/D {_adjective}/J {_hero.Noun}/N|{He}] was/X not/T [afraid|tired|hungry|alone|cold]/J [|in/P the/D [dark|rain|wind]/N|on/P the/D [narrow|dusty|old]/J road/N]",
    };

    private void Lose()
    {
        Realm realm = Elsewhere();
        Role finder = _draw.One(realm.Roles);
        string place = Template.Choose(_draw.One(StoryWorld.Grounds), _draw);
        Say($"[one/# day/N|then/R|in/P the/D [spring|autumn|winter|summer]/N] [{He}|{Name}|the/D {_hero.Noun}/N] lost/V {His} [|{_thingAdjective}/J] {_thing}/N {place} [|in/P the/D [rain|fog|wind|dark]/N]");
        Say($"a/D {_draw.One(["kind", "friendly", "quiet", "strange"])}/J {finder.Noun}/N [found/V the/D {_thing}/N [|{place}]|saw/V {_hero.ObjectPronoun}/O and/C helped/V {_hero.ObjectPronoun}/O [|{place}|to/T look/V for/P it/O]]");
        Say($"the/D {finder.Noun}/N gave/V [the/D|{His}] [|{_thingAdjective}/J] {_thing}/N back/R to/P [{Name}|the/D {_hero.Noun}/N|{_hero.ObjectPronoun}/O] [|and/C [smiled|laughed|left]/V|in/P the/D [morning|evening]/N]");
    }

    private string Subject() => _draw.Below(4) switch
    {
        0 => He,
        1 => Name,
        2 => $"the/D {_adjective}/J {_hero.Noun}/N",
        _ => $"[the|that]/D {_hero.Noun}/N",
    };

    /// <summary>A clause of a realm, about the hero or, without a subject, about somebody of that realm.</summary>
    private string About(Role? actor, string subject, Realm realm)
    {
        Clause clause = actor is null
            ? Clause.Random(realm, realm, _draw)
            : Clause.About(realm, actor, Template.Choose(subject, _draw), plural: false, _draw);
        return clause.Write(clause.Forms[_draw.Below(clause.Forms.Count)]);
    }

    private string Other() => About(null, "", _draw.Chance(50) ? _realm : Elsewhere());

    private string Meeting()
    {
        Clause clause = Clause.Meeting(_draw.Chance(50) ? _realm : Elsewhere(), _draw.One(StoryWorld.Realms), _draw);
        return clause.Write(clause.Forms[_draw.Below(clause.Forms.Count)]);
    }

    /// <summary>Her own thing, or her: what "her" is, only the next word tells.</summary>
    private string Owner()
    {
        string friend = Somebody(out _);
        return $"{friend} [saw|found|loved|watched|followed|heard|feared]/V [{_hero.ObjectPronoun}/O [|near/P the/D [well|river]/N|on/P the/D [road|bridge]/N|[then|again|today]/R]|{His} [|{_thingAdjective}/J] {_thing}/N|{His} [friend|family|dog|light]/N]";
    }

    private string Somebody(out Role role)
    {
        Realm realm = _draw.One(StoryWorld.Realms);
        role = _draw.Other(realm.Roles, _hero);
        return $"the/D [|{_draw.One(realm.Adjectives)}/J] {role.Noun}/N";
    }

    private Realm Elsewhere() => _draw.Other(StoryWorld.Realms, _realm);

    private void Say(string template) => Say(() => template);

    private void Say(Func<string> template)
    {
        TaggedSentence sentence;
        int attempts = 0;
        do
            sentence = new TaggedSentence(Template.Parse(Template.Choose(template(), _draw) + " ./."));
        while (Partition.IsHeldOut(sentence.Line) != _heldOut && ++attempts < Attempts);
        _impossible |= !_heldOut && attempts == Attempts;
        _sentences.Add(sentence);
    }
}
